// Streams of events. Whatever is lost (the network, the program) comes back by itself: EventSource tries again, and
// what comes first is always everything.

/** What answers with an error, as a proxy may, ends an EventSource for good; then a new one is tried, in ms. */
const AGAIN_AFTER = 5000;

/** Hears what comes from a path: for each kind of event a function, given its data. Answers what ends it. */
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
