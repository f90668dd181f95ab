//! Robustness of a model under white-box, black-box and adaptive attacks, as `trainer robust` measures it: image by
//! image into resumable tables, then `images.csv` and `robust.json`.
//!
//! `request` reads the inputs, `evaluation` runs: `images` selects what is attacked, `folder` keeps settings and tables, `attacked` and `defended` fill them,
//! `sanity` checks the attacks themselves, `summary` is the result.

mod attacked;
mod defended;
mod evaluation;
mod folder;
mod images;
mod interval;
mod print;
mod request;
mod sanity;
mod settings;
pub mod summary;
mod table;

pub use self::{
    images::ImageSource,
    print::text,
    request::{Files, RobustRequest, attacks, default_out},
};
