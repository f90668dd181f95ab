//! Trainer of robust models and detectors, as a library for its program and for fuzz targets.
//!
//! `commands` parse the command line. A run of `training` draws variants (`sampler`), gathers and augments them
//! (`batch`, `augment`), takes steps of a method (`methods`, `optimizer`) and keeps `metrics` and checkpoints in its
//! folder; `evaluate` measures models on stored samples, `robust` under attack, `report` shows runs, `bench` times the parts.

mod augment;
mod batch;
mod bench;
pub mod checkpoint;
pub mod commands;
pub mod config;
mod ema;
mod eps;
mod evaluate;
mod folder;
mod methods;
mod metrics;
mod optimizer;
mod recipe;
pub mod report;
mod robust;
mod sampler;
mod schedule;
mod stores;
mod totals;
mod training;
