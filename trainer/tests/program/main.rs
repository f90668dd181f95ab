//! Tests of the program: exit codes, messages and run folders.

mod architectures;
mod bench;
mod cases;
mod common;
mod measurements;
mod methods;
mod mismatches;
mod random_numbers;
mod refusals;
mod results;
mod resuming;
mod robust;
mod runs;
mod shift;
mod test_store;
