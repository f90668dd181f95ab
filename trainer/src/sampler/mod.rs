//! Which variant of a picture a draw shows.
