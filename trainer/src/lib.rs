//! The trainer as a library, for its program and for what tests its readers with any bytes.
//!
//! A command walks from [`commands`] to the run that it names; what a run leaves in its folder is read by
//! [`config`], [`checkpoint`] and [`report`].

mod arguments;
mod augment;
mod batch;
mod bench;
pub mod checkpoint;
pub mod commands;
pub mod config;
mod evaluate;
mod folder;
mod metrics;
mod optimizer;
pub mod report;
mod run;
mod sampler;
mod schedule;
mod show;
mod step;
mod totals;
