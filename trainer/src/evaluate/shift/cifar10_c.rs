//! Evaluation on the files of CIFAR-10-C: for each corruption an array of N images for each of five severities, one
//! severity after the other, and one array of labels.

use std::path::Path;

use base::{Error, Result, log, progress::Progress};
use data::{
    CIFAR10, IMAGE_BYTES,
    corruptions::{CORRUPTIONS, Severity},
    npy::{self, Array},
    planar,
};

use super::{
    CorruptionEvaluation, Evaluated, ShiftRequest,
    result::{CorruptionAccuracies, Source},
};

/// The file of the labels.
const LABELS: &str = "labels.npy";

impl ShiftRequest<'_> {
    /// Evaluates the model on the folder's corruptions; those without a file are reported as missing.
    ///
    /// # Errors
    /// [`Error::Data`] for a folder without any corruption, and for arrays of another form or that do not fit each
    /// other; a model of other than ten classes.
    pub fn cifar10_c(&self, folder: &Path) -> Result<CorruptionEvaluation> {
        let model = self.load()?;
        let description = model.loaded.network.describe();
        description.check_classes(&self.model.display(), CIFAR10.classes.len())?;
        std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
        let path = |name: &str| folder.join(format!("{name}.npy"));
        let present: Vec<&str> = (CORRUPTIONS.iter().map(|row| row.name))
            .filter(|name| path(name).exists())
            .collect();
        if present.is_empty() {
            let expected = format!("files of CIFAR-10-C such as {}.npy", CORRUPTIONS[0].name);
            return Err(Error::data(folder.display(), "none", expected));
        }
        let labels = Labels::read(&folder.join(LABELS), model.classes())?;
        let mut progress: Option<Progress> = None;
        let (mut images, mut each) = (None, 0);
        let mut corruptions = Vec::with_capacity(CORRUPTIONS.len());
        for row in &CORRUPTIONS {
            let mut accuracies = [None; Severity::COUNT];
            if present.contains(&row.name) {
                let file = npy::read(&path(row.name))?;
                let what = path(row.name).display().to_string();
                let array = Array::parse(&what, &file)?;
                let count = array.images()?.len() / IMAGE_BYTES;
                let labels = labels.of(&what, count)?;
                if *images.get_or_insert(count) != count {
                    let found = format!("{count} images");
                    return Err(Error::data(what, found, "as many as in the other files"));
                }
                let chosen = self.chosen(labels, model.classes())?;
                let all = (chosen.len() * present.len() * Severity::COUNT) as u64;
                let progress = progress.get_or_insert_with(|| Progress::new("eval", all));
                each = chosen.len() as u64;
                accuracies = accuracies_of(&model, &array, labels, &chosen, row.name, progress)?;
            } else {
                log::warning(format_args!(
                    "{}: no {}.npy; its cells are missing from the means",
                    folder.display(),
                    row.name
                ));
            }
            corruptions.push(CorruptionAccuracies::new(row, accuracies));
        }
        if let Some(progress) = progress {
            progress.finish();
        }
        let model = model.describe();
        Ok(CorruptionEvaluation::new(
            Source::Files,
            model,
            each,
            corruptions,
        ))
    }
}

/// The accuracy for each severity.
fn accuracies_of(
    model: &Evaluated,
    array: &Array,
    labels: &[u8],
    chosen: &[usize],
    name: &str,
    progress: &mut Progress,
) -> Result<[Option<f64>; Severity::COUNT]> {
    let pixels = array.images()?;
    let mut accuracies = [None; Severity::COUNT];
    for severity in Severity::ALL {
        let first = severity.index() * labels.len();
        let image = |index: usize| {
            let pixels = &pixels[(first + index) * IMAGE_BYTES..][..IMAGE_BYTES];
            (planar(pixels), labels[index])
        };
        let correct = model.correct(chosen, image, progress, &format!("{name} {severity}"))?;
        accuracies[severity.index()] = Some(correct as f64 / chosen.len() as f64);
    }
    Ok(accuracies)
}

/// The labels of one severity, or of all five in a row: then the same each time.
struct Labels {
    what: String,
    labels: Vec<u8>,
}

impl Labels {
    fn read(path: &Path, classes: usize) -> Result<Self> {
        let what = path.display().to_string();
        let labels = Array::parse(&what, &npy::read(path)?)?.labels(classes)?;
        Ok(Self { what, labels })
    }

    /// The labels of each severity of the file `what` of so many images.
    fn of(&self, what: &str, images: usize) -> Result<&[u8]> {
        if !images.is_multiple_of(Severity::COUNT) {
            let found = format!("{images} images");
            return Err(Error::data(what, found, "as many of each of 5 severities"));
        }
        let each = images / Severity::COUNT;
        let (first, rest) = match self.labels.len() {
            all if all == images => self.labels.split_at(each),
            one if one == each => (self.labels.as_slice(), [].as_slice()),
            other => {
                let expected = format!("{each} or {images}, for the images of {what}");
                return Err(Error::data(&self.what, format!("{other} labels"), expected));
            }
        };
        if rest.chunks_exact(each).any(|labels| labels != first) {
            let found = "other labels for a higher severity than for the first";
            return Err(Error::data(
                &self.what,
                found,
                "the same images in the same order",
            ));
        }
        Ok(first)
    }
}
