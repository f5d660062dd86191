// Event streams. After a lost connection or a restart of the program, EventSource reconnects by itself, and the first
// events contain all data.

/**
 * Delay before a new EventSource is created, in ms. An EventSource does not reconnect after an error response, for
 * example from a proxy.
 */
const AGAIN_AFTER = 5000;

/** Opens the event stream of a path. `kinds` has a function per kind of event. Returns a function that closes it. */
export function hear(path, kinds) {
  let source;
  let later;
  const open = () => {
    source = new EventSource(path);
    for (const [kind, then] of Object.entries(kinds)) {
      source.addEventListener(kind, ({ data }) => then(data && JSON.parse(data)));
    }
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) later = setTimeout(open, AGAIN_AFTER);
    });
  };
  open();
  return () => {
    clearTimeout(later);
    source.close();
  };
}
