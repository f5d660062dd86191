//! One scan of a cgroup for listening sockets that were created outside.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use super::{
    OutsideListener, Problem,
    cgroups::{self, Location, Subtree},
    namespace,
    processes::{self, Process, unless_ended},
    sock_diag::{self, Listener},
};

/// Scans one cgroup, and remembers what earlier scans have found.
#[derive(Debug)]
pub(super) struct Scanner {
    cgroup: PathBuf,
    /// The ports that count; empty: all ports.
    ports: Vec<u16>,
    /// The ids of the cgroup and of all descendants that were ever seen. The sockets of a descendant that is removed
    /// while it is counted stay counted.
    inside: HashSet<u64>,
    /// The ports and cgroups of the sockets that earlier scans have found.
    reported: HashSet<(u16, u64)>,
}

/// The result of a scan.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The sockets that no earlier scan has found, one for each port and cgroup.
    pub(super) found: Vec<OutsideListener>,
    /// The first reason why the scan is incomplete.
    pub(super) problem: Option<Problem>,
}

impl Scan {
    fn problem(&mut self, problem: Problem) {
        self.problem.get_or_insert(problem);
    }
}

impl Scanner {
    /// Creates a scanner of a cgroup and its descendants. `ports` are the ports that count; empty: all ports.
    pub(super) fn new(cgroup: PathBuf, ports: Vec<u16>) -> Self {
        Self {
            cgroup,
            ports,
            inside: HashSet::new(),
            reported: HashSet::new(),
        }
    }

    /// Scans the cgroup. The time that a scan takes is proportional to the number of open files of the processes in the
    /// cgroup, or shorter: it does not look at files if all sockets were created inside.
    pub(super) fn scan(&mut self) -> Scan {
        let mut scan = Scan::default();
        if let Err(problem) = self.try_scan(&mut scan) {
            scan.problem(problem);
        }
        scan
    }

    fn try_scan(&mut self, scan: &mut Scan) -> Result<(), Problem> {
        let processes = self.read_subtree()?;
        let listeners = listeners(&processes, scan)?;
        let mut outside: HashMap<u32, (u16, u64)> = HashMap::new();
        for listener in listeners {
            let Some(cgroup) = listener.cgroup else {
                scan.problem(Problem::NoCgroup);
                continue;
            };
            if self.counts(listener.port)
                && !self.inside.contains(&cgroup)
                && !self.reported.contains(&(listener.port, cgroup))
            {
                outside.insert(listener.inode, (listener.port, cgroup));
            }
        }
        let mut held = HashMap::new();
        for pid in processes {
            if outside.is_empty() {
                break;
            }
            let read = processes::sockets(pid, |inode| {
                if let Some(socket) = outside.remove(&inode) {
                    held.entry(socket).or_insert(pid);
                }
            });
            if let Err(source) = read {
                scan.problem(Problem::Process { pid, source });
            }
        }
        if held.is_empty() {
            return Ok(());
        }
        // A process can create a child cgroup, and a socket in it, after the subtree was read.
        self.read_subtree()?;
        held.retain(|(_, cgroup), _| !self.inside.contains(cgroup));
        self.report(held, scan);
        Ok(())
    }

    /// Reads the ids of the subtree. Returns its processes.
    fn read_subtree(&mut self) -> Result<Vec<u32>, Problem> {
        let subtree = Subtree::read(&self.cgroup).map_err(|source| Problem::Cgroup {
            path: self.cgroup.clone(),
            source,
        })?;
        self.inside.extend(subtree.ids);
        Ok(subtree.processes)
    }

    fn counts(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.contains(&port)
    }

    /// Adds sockets to the result of the scan: ports and cgroups with a process that holds the socket.
    fn report(&mut self, held: HashMap<(u16, u64), u32>, scan: &mut Scan) {
        let ids = held.keys().map(|(_, cgroup)| *cgroup).collect();
        let locations = cgroups::locate(&ids);
        for ((port, cgroup), pid) in held {
            self.reported.insert((port, cgroup));
            let location = locations.get(&cgroup).cloned();
            scan.found.push(OutsideListener {
                port,
                holder: Some(Process::named(pid)),
                cgroup,
                location: location.unwrap_or(Location::NotFound),
            });
        }
        scan.found.sort_by_key(|listener| listener.port);
    }
}

/// Lists the listening sockets in the network namespaces of this thread and of the processes. (A process can have
/// inherited a socket of this thread's namespace although it has a namespace of its own: systemd's `PrivateNetwork=`.)
fn listeners(processes: &[u32], scan: &mut Scan) -> Result<Vec<Listener>, Problem> {
    let own = namespace::own().map_err(Problem::SockDiag)?;
    let mut listeners = sock_diag::listeners().map_err(Problem::SockDiag)?;
    let mut listed = HashSet::from([own]);
    for &pid in processes {
        match unless_ended(namespace::of(pid)) {
            Ok(Some(id)) if !listed.contains(&id) => {
                match unless_ended(namespace::inside(pid, sock_diag::listeners)) {
                    Ok(Some(found)) => {
                        listed.insert(id);
                        listeners.extend(found);
                    }
                    // The next process of the namespace is tried.
                    Ok(None) => {}
                    Err(source) => {
                        listed.insert(id);
                        scan.problem(Problem::Namespace { pid, source });
                    }
                }
            }
            Ok(_) => {}
            Err(source) => scan.problem(Problem::Process { pid, source }),
        }
    }
    Ok(listeners)
}
