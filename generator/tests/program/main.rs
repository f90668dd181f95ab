//! The generator as its users run it: arguments and files go in; exit codes, messages and stores
//! are what is looked at.

mod cases;
mod common;
mod data;
mod exports;
mod outputs;
mod real_pictures;
mod resuming;
mod shards;
mod stores;
mod weights;
