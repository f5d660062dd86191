//! The probe port of a program, with only `/healthz` and `/readyz`, for kubelet's probes.
//!
//! The port has its own thread and runtime, so that neither a busy program nor a full status port delays a probe. The
//! thread checks whether the program's main runtime makes progress. If the runtime makes no progress, `/healthz` fails.
//!
//! Any `Host` is accepted: the responses only say whether this process is alive and ready, which is useless to an
//! attacker. Failure mode: if the port's thread ends, [`serve`] ends too, and its caller ends the process.

use std::{
    convert::Infallible,
    future, io,
    net::{Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{self, MissedTickBehavior},
};
use tracing::{debug, error};

use crate::{
    connections,
    open_connections::{ConnectionGuard, Limits},
    ports::{self, ListenError},
    status::{self, Answer, Status},
};

/// Connection limits of the probe port. Kubelet uses one connection for each probe; the other connections are for
/// people and load balancers.
const LIMITS: Limits = Limits {
    port: "probe",
    all: 64,
    per_address: 32,
};
/// Time limit of a probe, which needs one packet in each direction. Kubelet's own limit is a few seconds, too.
const PATIENCE: Duration = Duration::from_secs(3);
/// Size of hyper's buffer. It is the smallest that hyper accepts, and far larger than a probe.
const BUFFER: usize = 8 * 1024;

/// Interval at which the program's runtime records its progress.
const BEAT: Duration = Duration::from_secs(1);
/// After this time without progress, the runtime is considered dead. A live runtime records its progress every second,
/// because its longest task takes far less than a second.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// Time of the last progress of the program's runtime, in ms since `begun`.
struct Progress {
    begun: Instant,
    last: AtomicU64,
}

impl Progress {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), String> {
        let since = self.now().saturating_sub(self.last.load(Ordering::Relaxed));
        let since = Duration::from_millis(since);
        match since > DEAD_AFTER {
            true => Err(format!(
                "the program has made no progress for {} s; at most {} s are normal",
                since.as_secs(),
                DEAD_AFTER.as_secs()
            )),
            false => Ok(()),
        }
    }
}

/// Opens the probe port. If no address was requested and the default port is in use, returns `None`: the program then
/// runs without probes, and its log says why they fail.
///
/// # Errors
/// The requested address cannot be opened, or the default port cannot be opened although it is not in use.
pub async fn listen(
    requested: Option<SocketAddr>,
    default_port: u16,
) -> Result<Option<TcpListener>, ListenError> {
    let address = requested.unwrap_or((Ipv6Addr::UNSPECIFIED, default_port).into());
    match ports::listen(address, "--probe-address").await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if requested.is_none() && error.source.kind() == io::ErrorKind::AddrInUse => {
            error!(
                %address,
                "the default port for probes is in use, so probes will fail; set --probe-address, and the probes of \
                 the pod, to a free port"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Answers probes on `listener`, forever. Without a listener it waits forever.
pub async fn serve(listener: Option<TcpListener>, status: Arc<impl Status>) {
    let Some(listener) = listener else {
        return future::pending().await;
    };
    let progress = Arc::new(Progress {
        begun: Instant::now(),
        last: AtomicU64::new(0),
    });
    // `_stop` is dropped together with the future of `serve`. This closes the channel, and the thread of the probe port
    // ends.
    let (_stop, stopped) = oneshot::channel();
    let (alive, mut ended) = oneshot::channel::<Infallible>();
    let started = listener.into_std().and_then(|listener| {
        let progress = Arc::clone(&progress);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name("probes".to_owned())
            .spawn(move || {
                let _alive = alive;
                runtime.block_on(answer_all(listener, status, progress, stopped));
            })
    });
    if let Err(error) = started {
        return error!(%error, "the thread for probes cannot be started");
    }
    let mut beats = time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beats.tick() => progress.note(),
            _ = &mut ended => return,
        }
    }
}

async fn answer_all(
    listener: std::net::TcpListener,
    status: Arc<impl Status>,
    progress: Arc<Progress>,
    stopped: oneshot::Receiver<Infallible>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error!(%error, "the port for probes cannot be used"),
    };
    let serving = connections::serve(listener, LIMITS, |stream, guard| {
        connection(stream, guard, Arc::clone(&status), Arc::clone(&progress))
    });
    tokio::select! {
        () = serving => {}
        _ = stopped => {}
    }
}

/// Serves one request per connection.
async fn connection(
    stream: TcpStream,
    guard: Arc<ConnectionGuard>,
    status: Arc<impl Status>,
    progress: Arc<Progress>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        guard.set_busy(true);
        let answer = answer(request.uri().path(), &*status, &progress);
        future::ready(Ok::<_, Infallible>(answer))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(BUFFER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // This outer time limit closes the connection of a client that does not read its response.
    match time::timeout(2 * PATIENCE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "probe connection"),
        Err(_) => debug!("probe connection: the client did not read the response"),
    }
}

fn answer(path: &str, status: &impl Status, progress: &Progress) -> Answer {
    let alive = || progress.check().and_then(|()| status.alive());
    let answer = match path {
        "/healthz" => status::healthz(alive()),
        "/readyz" => status::readyz(status.ready()),
        _ => status::nothing("unknown path; the paths of this port are /healthz and /readyz"),
    };
    status::hardened(answer)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::Format;

    #[derive(Default)]
    struct Waiting(AtomicBool);

    impl Status for Waiting {
        fn ready(&self) -> Result<String, String> {
            match self.0.load(Ordering::Relaxed) {
                true => Ok("ready".to_owned()),
                false => Err("it waits".to_owned()),
            }
        }

        fn metrics(&self, _: Format) -> Result<String, std::fmt::Error> {
            Ok(String::new())
        }
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn t6_probes_are_answered_beside_idle_connections() {
        let listener = listen(Some("127.0.0.1:0".parse().unwrap()), 0)
            .await
            .unwrap();
        let address = listener.as_ref().unwrap().local_addr().unwrap();
        let status = Arc::new(Waiting::default());
        let serving = tokio::spawn(serve(listener, Arc::clone(&status)));
        let mut idle = Vec::new();
        for _ in 0..256 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let asked = Instant::now();
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(
            get(address, "/readyz")
                .await
                .contains("not ready: it waits")
        );
        status.0.store(true, Ordering::Relaxed);
        let ready = get(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        assert!(ready.contains("nosniff") && ready.contains("no-store"));
        assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 404"));
        // The new connections got responses before the idle connections had reached their time-out.
        assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
        serving.abort();
    }

    #[tokio::test]
    async fn t6_a_port_that_is_taken_is_told() {
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = other.local_addr().unwrap();
        assert!(listen(None, address.port()).await.unwrap().is_none());
        let error = listen(Some(address), address.port()).await.unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn t6_a_program_without_progress_is_not_alive() {
        let progress = Progress {
            begun: Instant::now() - DEAD_AFTER - Duration::from_secs(2),
            last: AtomicU64::new(0),
        };
        let status = Waiting::default();
        assert_eq!(answer("/healthz", &status, &progress).status(), 500);
        progress.note();
        assert_eq!(answer("/healthz", &status, &progress).status(), 200);
    }
}
