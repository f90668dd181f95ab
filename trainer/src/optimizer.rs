//! SGD with momentum.
