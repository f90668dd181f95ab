//! Contact sheet: a few images of the store with all their adversarial variants.

use base::Result;
use maud::{Markup, html};

use super::Section;
use crate::report::{
    ReportData,
    elements::note,
    image_strip::{AMPLIFY, ImageStrip},
};

/// The section of the images.
///
/// # Errors
/// As [`ImageStrip::figure`].
pub fn sections(data: &ReportData) -> Result<Vec<Section>> {
    let body = match data.strips {
        Some(strips) if !strips.is_empty() => sheet(strips)?,
        _ => note("No store was at hand to take images from."),
    };
    let heading = "Contact sheet";
    Ok(vec![Section::new("images", heading, heading, body)])
}

fn sheet(strips: &[ImageStrip]) -> Result<Markup> {
    let figures: Vec<Markup> = strips
        .iter()
        .map(ImageStrip::figure)
        .collect::<Result<_>>()?;
    let explanation = format!(
        "Each image clean and as the attacks left it; below, what each attack changed, {AMPLIFY} \
         times as strong, around mid-gray. Under each column stands what the baseline takes the \
         image for; ✗ marks where it is wrong."
    );
    Ok(html! {
        (note(&explanation))
        @for figure in &figures { (figure) }
    })
}
