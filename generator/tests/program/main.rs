//! Tests of the generator as a program: arguments, exit codes, messages and stores.

mod cases;
mod common;
mod data;
mod exports;
mod outputs;
mod real_images;
mod resuming;
mod shards;
mod start;
mod stores;
mod weights;
