//! The contact sheet on the page: images that the caller read from a store come in, figures
//! with the image inside and its captions around it go out.

use base::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use data::sheet::{self, Strip};

use super::{html::escape, names};

/// How strongly the sheet shows a change: a change of an eighth of full scale to a half.
pub const AMPLIFY: f32 = 4.0;

/// The image's own scale; the browser repeats the pixels.
const SCALE: u32 = 2;

/// A clean image with its variants, as read from a store.
pub struct PictureStrip {
    /// What tells it from the others, such as `test 17`.
    pub caption: String,
    /// The name of its true class.
    pub class: String,
    /// The clean image.
    pub clean: Shown,
    /// Attacks by name, each with what it made of the clean image.
    pub variants: Vec<(String, Shown)>,
}

/// An image and what the surrogate takes it for.
pub struct Shown {
    /// 3072 planar bytes.
    pub pixels: Vec<u8>,
    /// The name of the class that the surrogate predicts.
    pub prediction: String,
}

impl PictureStrip {
    /// The strip as an HTML figure.
    ///
    /// # Errors
    /// As [`sheet::render`].
    pub fn html(&self) -> Result<String> {
        let strip = Strip {
            caption: self.caption.clone(),
            clean: &self.clean.pixels,
            variants: (self.variants.iter())
                .map(|(name, shown)| (name.clone(), shown.pixels.as_slice()))
                .collect(),
        };
        let png = sheet::png(&sheet::render(&[strip], SCALE, AMPLIFY)?)?;
        let variants = self
            .variants
            .iter()
            .map(|(name, shown)| (names::label(name), shown));
        let (labels, predictions): (String, String) = std::iter::once(("Clean", &self.clean))
            .chain(variants)
            .map(|(label, shown)| (format!("<b>{}</b>", escape(label)), self.said(shown)))
            .unzip();
        let (class, caption) = (escape(&self.class), escape(&self.caption));
        let (columns, data) = (1 + self.variants.len(), STANDARD.encode(png));
        Ok(format!(
            "<figure class=\"strip\"><figcaption>{class} <small>{caption}</small></figcaption>\
             <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{class}, {caption}\">\
             <div class=\"tiles\" style=\"--columns:{columns}\">{labels}\
             <img alt=\"{class}: the clean image and its variants; below, what each changed\" \
             src=\"data:image/png;base64,{data}\">{predictions}</div></div></figure>\n"
        ))
    }

    fn said(&self, shown: &Shown) -> String {
        let prediction = escape(&shown.prediction);
        match shown.prediction == self.class {
            true => format!("<span>{prediction}</span>"),
            false => format!("<span class=\"wrong\">✗ {prediction}</span>"),
        }
    }
}
