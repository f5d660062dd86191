//! A bad network: the loopback device with the kernel's network emulator, tc-netem(8).

use std::{io, time::Duration};

use ebb_fixtures::net::netlink::{LOOPBACK, attribute, request};

use super::MissingFeature;

// Constants of include/uapi/linux/rtnetlink.h and pkt_sched.h.
const NEW_QDISC: u16 = 36;
const DELETE_QDISC: u16 = 37;
const KIND: u16 = 1; // TCA_KIND
const OPTIONS: u16 = 2; // TCA_OPTIONS
const REORDER: u16 = 3; // TCA_NETEM_REORDER
const ROOT: u32 = u32::MAX; // TC_H_ROOT
const CREATE_OR_REPLACE: u16 = 0x400 | 0x100; // NLM_F_CREATE | NLM_F_REPLACE

/// netem's unit of time, 64 ns (`PSCHED_SHIFT` of include/net/pkt_sched.h).
const TICK: Duration = Duration::from_nanos(64);

/// Maximum number of packets that are delayed at the same time. The checks never have so many packets in transit.
const QUEUE: u32 = 10_000;

/// The faults of the network. `lost`, `doubled` and `hurried` are percentages of the packets; hurried packets overtake
/// delayed packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) lost: u32,
    pub(super) doubled: u32,
    /// Percentage of the packets that are not delayed: each of them overtakes the packets that are delayed by `delay`.
    pub(super) hurried: u32,
    pub(super) delay: Duration,
}

/// The loopback device with faults. Dropping this value removes the faults.
pub(super) struct Netem(());

impl Netem {
    /// Configures the loopback device with these faults.
    ///
    /// # Errors
    /// If the kernel has no network emulator.
    pub(super) fn with(faults: Faults) -> Result<Self, MissingFeature> {
        let ticks = (faults.delay.as_nanos() / TICK.as_nanos()) as u32;
        // The fields of `struct tc_netem_qopt`: latency, limit, loss, gap, duplicate, jitter.
        let gap = u32::from(faults.hurried > 0);
        let words = [
            ticks,
            QUEUE,
            share(faults.lost),
            gap,
            share(faults.doubled),
            0,
        ];
        let mut options: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        if faults.hurried > 0 {
            // The fields of `struct tc_netem_reorder`: probability, correlation.
            let reorder = [share(faults.hurried), 0];
            let reorder: Vec<u8> = reorder.iter().flat_map(|word| word.to_ne_bytes()).collect();
            options.extend(attribute(REORDER, &reorder));
        }
        let mut body = to_loopback();
        body.extend(attribute(KIND, b"netem\0"));
        body.extend(attribute(OPTIONS, &options));
        match request(NEW_QDISC, CREATE_OR_REPLACE, &body) {
            Ok(()) => Ok(Self(())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(MissingFeature("no sch_netem in this kernel".to_owned()))
            }
            Err(error) => panic!("netem with {faults:?}: {error}"),
        }
    }
}

impl Drop for Netem {
    fn drop(&mut self) {
        if let Err(error) = request(DELETE_QDISC, 0, &to_loopback()) {
            eprintln!("cannot remove netem from the loopback device: {error}");
        }
    }
}

/// Returns a `struct tcmsg` for the loopback device, with the fields family, device, handle, parent, information.
fn to_loopback() -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend(0u32.to_ne_bytes());
    body.extend(ROOT.to_ne_bytes());
    body.extend(0u32.to_ne_bytes());
    body
}

/// Converts a percentage to netem's representation of a probability: a share of 2^32.
fn share(hundredths: u32) -> u32 {
    u32::MAX / 100 * hundredths
}
