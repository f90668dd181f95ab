//! The adversarial store.
