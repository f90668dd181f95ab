//! The trainer as its users run it: arguments and files go in; exit codes, messages and run folders
//! are what is looked at.

mod bench;
mod cases;
mod common;
mod mismatches;
mod refusals;
mod results;
mod resuming;
mod runs;
mod test_store;
