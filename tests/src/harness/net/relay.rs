//! A cable with faults, in user space: two tun devices, and a thread that copies packets between them. For kernels without
//! `sch_netem`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use super::faults::{Fate, Fates, Faults};
use super::{NetNs, pair::CABLE};

/// Largest IP packet.
const PACKET: usize = 65_536;

/// How long a late packet waits if no packet follows to overtake it, and the thread's delay in noticing that it must end.
/// Shorter than TCP's shortest retransmission timeout (200 ms).
const PATIENCE: Duration = Duration::from_millis(5);

/// The faults produced so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Made {
    /// Packets carried, including those with faults.
    pub packets: u64,
    /// Packets dropped.
    pub lost: u64,
    /// Packets delivered twice.
    pub doubled: u64,
    /// Packets that others overtook.
    pub late: u64,
}

/// A running relay. Dropping it ends the relay.
#[derive(Debug)]
pub struct Relay {
    ends: Arc<AtomicBool>,
    made: Arc<Mutex<Made>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Connects two namespaces; each gets a tun device.
    ///
    /// # Panics
    /// If there is no `/dev/net/tun`.
    pub(super) fn start(one: &NetNs, other: &NetNs, faults: Faults, seed: u64) -> Self {
        let (one, other) = (one.inside(device), other.inside(device));
        let ends = Arc::new(AtomicBool::new(false));
        let made = Arc::new(Mutex::new(Made::default()));
        let (ended, counts) = (Arc::clone(&ends), Arc::clone(&made));
        let thread = thread::spawn(move || {
            let mut ways = [
                Way::new(&one, &other, Fates::new(faults, seed)),
                Way::new(&other, &one, Fates::new(faults, !seed)),
            ];
            while !ended.load(Ordering::Relaxed) {
                let mut ready =
                    [&one, &other].map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
                poll(&mut ready, PATIENCE.as_millis() as u8).ok();
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                for way in &mut ways {
                    way.carry(&mut counts);
                }
            }
        });
        Self {
            ends,
            made,
            thread: Some(thread),
        }
    }

    /// The faults produced so far.
    #[must_use]
    pub fn made(&self) -> Made {
        *self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// One direction of the cable.
struct Way<'a> {
    from: &'a File,
    to: &'a File,
    fates: Fates,
    held: Vec<Late>,
}

/// A delayed packet.
struct Late {
    /// How many packets still have to overtake this one.
    after: u32,
    since: Instant,
    packet: Vec<u8>,
}

impl<'a> Way<'a> {
    fn new(from: &'a File, to: &'a File, fates: Fates) -> Self {
        Self {
            from,
            to,
            fates,
            held: Vec::new(),
        }
    }

    /// Carries all packets that can be read now.
    fn carry(&mut self, made: &mut Made) {
        let mut packet = [0; PACKET];
        loop {
            let size = match self.from.read(&mut packet) {
                Ok(size) => size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The device is down: the test is starting or ending.
                Err(_) => return,
            };
            made.packets += 1;
            let packet = &packet[..size];
            match self.fates.next() {
                Fate::Arrives => self.pass(packet),
                Fate::Lost => made.lost += 1,
                Fate::Doubled => {
                    made.doubled += 1;
                    self.pass(packet);
                    self.pass(packet);
                }
                Fate::Late(after) => {
                    made.late += 1;
                    self.held.push(Late {
                        after,
                        since: Instant::now(),
                        packet: packet.to_vec(),
                    });
                }
            }
        }
        self.release(|late| late.since.elapsed() >= PATIENCE);
    }

    /// Delivers a packet, then the late packets that this one was the last to overtake.
    fn pass(&mut self, packet: &[u8]) {
        self.deliver(packet);
        for late in &mut self.held {
            late.after = late.after.saturating_sub(1);
        }
        self.release(|late| late.after == 0);
    }

    fn release(&mut self, is_due: impl Fn(&Late) -> bool) {
        let (due, held): (Vec<_>, _) = std::mem::take(&mut self.held).into_iter().partition(is_due);
        self.held = held;
        for late in due {
            self.deliver(&late.packet);
        }
    }

    fn deliver(&self, packet: &[u8]) {
        // A device that is down accepts nothing: the packet counts as one more loss.
        let mut to = self.to;
        to.write_all(packet).ok();
    }
}

/// `struct ifreq` of `include/uapi/linux/if.h`, limited to the fields that `TUNSETIFF` uses.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// Creates a tun device in this thread's namespace. The device disappears when the file is closed.
fn device() -> File {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .expect("/dev/net/tun");
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        flags: (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short,
        rest: [0; 22],
    };
    request.name[..CABLE.len()].copy_from_slice(CABLE.as_bytes());
    // SAFETY: `request` is a live `ifreq` of 40 bytes; the kernel writes the name back to it.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    let error = std::io::Error::last_os_error();
    assert_eq!(result, 0, "TUNSETIFF: {error}");
    file
}
