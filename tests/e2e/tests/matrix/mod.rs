//! The test matrix: each failure scenario is run with several numbers of replicas, with and without traffic, and with
//! agents or autoscaler started first.
//!
//! A scenario is a row of the matrix. All its cells run at the same time in one cluster. Each cell is a workload with a
//! number of replicas, with or without traffic. A watch on the API server records every value of the requested
//! replicas. The test checks these rules:
//!
//! - Replicas never fall while the load does not fall.
//! - When the load ends, the replicas fall no faster than the average of the load over the window.
//! - If no load is known from before, the replicas fall once the load has been known to be zero for the whole window,
//!   and never earlier.
//! - Every request is answered, at zero replicas too.
//!
//! Pods of workloads with 20 and 200 replicas are simulated ([`Simulated`](ebb_e2e::Simulated)). Pods of workloads with
//! 0 and 1 replicas are processes behind a Service, with the usual agents and activators.

mod cells;
mod clients;
mod scenario;
mod world;

use ebb_fixtures::{Case, Need};

use self::scenario::Scenario::{
    Absent, Failover, Frozen, OptIn, OptOut, Restart, Slow, Start, Stopped,
};
use self::world::Order::{AgentsFirst, AutoscalerFirst};
use self::world::run;

/// What these tests need: pods with their own IP addresses, and one host name for all autoscaler replicas.
const NEEDS: &[Need] = &[Need::Cgroup, Need::Network, Need::Mounts];
const LONG: &[Need] = &[Need::Full, Need::Cgroup, Need::Network, Need::Mounts];

macro_rules! cases {
    ($($name:literal $needs:ident $scenario:expr, $order:expr;)*) => {
        &[$(Case::beside(concat!("matrix::", $name), $needs, || run($scenario, $order))),*]
    };
}

/// With `EBB_TEST_FULL=1`, every scenario runs in both orders: with the agents started first, and with the autoscaler
/// started first. Without it, most scenarios run in one order, and of the scenarios that stop the leader only the one
/// that stops it for 5 s runs.
pub(crate) const CASES: &[Case] = cases! {
    "stopped_60s_agents_first" LONG Stopped(60), AgentsFirst;
    "stopped_60s_autoscaler_first" LONG Stopped(60), AutoscalerFirst;
    "stopped_20s_agents_first" LONG Stopped(20), AgentsFirst;
    "stopped_20s_autoscaler_first" LONG Stopped(20), AutoscalerFirst;
    "frozen_agents_first" NEEDS Frozen, AgentsFirst;
    "frozen_autoscaler_first" LONG Frozen, AutoscalerFirst;
    "absent_agents_first" LONG Absent, AgentsFirst;
    "absent_autoscaler_first" NEEDS Absent, AutoscalerFirst;
    "slow_agents_first" NEEDS Slow, AgentsFirst;
    "slow_autoscaler_first" LONG Slow, AutoscalerFirst;
    "stopped_5s_agents_first" NEEDS Stopped(5), AgentsFirst;
    "stopped_5s_autoscaler_first" LONG Stopped(5), AutoscalerFirst;
    "stopped_1s_agents_first" LONG Stopped(1), AgentsFirst;
    "stopped_1s_autoscaler_first" LONG Stopped(1), AutoscalerFirst;
    "failover_agents_first" NEEDS Failover, AgentsFirst;
    "failover_autoscaler_first" LONG Failover, AutoscalerFirst;
    "restart_agents_first" NEEDS Restart, AgentsFirst;
    "restart_autoscaler_first" LONG Restart, AutoscalerFirst;
    "opt_in_agents_first" LONG OptIn, AgentsFirst;
    "opt_in_autoscaler_first" NEEDS OptIn, AutoscalerFirst;
    "opt_out_agents_first" NEEDS OptOut, AgentsFirst;
    "opt_out_autoscaler_first" LONG OptOut, AutoscalerFirst;
    "start_agents_first" NEEDS Start, AgentsFirst;
    "start_autoscaler_first" NEEDS Start, AutoscalerFirst;
};
