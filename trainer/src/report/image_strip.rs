//! Figure of one image and its adversarial variants, with predictions under each and the image data inline.

use base::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use data::sheet::{self, Strip};
use maud::{Markup, html};

use super::{elements::scrollable, names};

/// How strongly the figure shows a change: an eighth of full scale becomes a half.
pub const AMPLIFY: f32 = 4.0;

/// The image's own scale; the browser repeats the pixels.
const SCALE: u32 = 2;

/// A clean image with its variants, as read from a store.
pub struct ImageStrip {
    /// What tells it from the others, such as `test 17`.
    pub caption: String,
    /// The name of its true class.
    pub class: String,
    /// The clean image.
    pub clean: ClassifiedImage,
    /// Attacks by name, each with its sample of the clean image.
    pub variants: Vec<(String, ClassifiedImage)>,
}

/// An image and the surrogate's prediction.
pub struct ClassifiedImage {
    /// 3072 planar bytes.
    pub pixels: Vec<u8>,
    /// The name of the class that the surrogate predicts.
    pub prediction: String,
}

impl ImageStrip {
    /// The strip as an HTML figure.
    ///
    /// # Errors
    /// As [`sheet::render`].
    pub fn figure(&self) -> Result<Markup> {
        let data_url = format!("data:image/png;base64,{}", STANDARD.encode(self.png()?));
        let (class, caption) = (&self.class, &self.caption);
        let variants = self
            .variants
            .iter()
            .map(|(name, image)| (names::label(name), image));
        let columns: Vec<_> = std::iter::once(("Clean", &self.clean))
            .chain(variants)
            .collect();
        let tiles = html! {
            div.tiles style={ "--columns:" (columns.len()) } {
                @for (label, _) in &columns { b { (label) } }
                img alt={ (class) ": the clean image and its variants; below, what each changed" }
                    src=(data_url);
                @for (_, image) in &columns { (self.prediction(image)) }
            }
        };
        Ok(html! {
            figure.strip {
                figcaption { (class) " " small { (caption) } }
                (scrollable(&format!("{class}, {caption}"), &tiles))
            }
        })
    }

    fn png(&self) -> Result<Vec<u8>> {
        let variants = self.variants.iter();
        let strip = Strip {
            caption: self.caption.clone(),
            clean: &self.clean.pixels,
            variants: variants
                .map(|(name, image)| (name.clone(), image.pixels.as_slice()))
                .collect(),
        };
        sheet::png(&sheet::render(&[strip], SCALE, AMPLIFY)?)
    }

    fn prediction(&self, image: &ClassifiedImage) -> Markup {
        let prediction = &image.prediction;
        if *prediction == self.class {
            html! { span { (prediction) } }
        } else {
            html! { span.wrong { "✗ " (prediction) } }
        }
    }
}
