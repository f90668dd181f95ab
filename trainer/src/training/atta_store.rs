//! The perturbations that ATTA ends with, saved as a store of the training images: its attack is `atta`, its surrogate
//! the run's best model.

use std::path::Path;

use attacks::{ATTA, Attack, AttackBatch, Perturbed};
use base::{Result, files, log::info};
use candle_core::Tensor;
use data::Split;
use nn::{
    ComputeDevice, device,
    model::{Classifier, Loaded, predicted_classes},
};
use store::{AttackRow, BuildSpec, ImageRow, ModelRow, SampleRow, Store, Writer};

use crate::{config::Config, folder::ATTA_STORE, methods::Perturbations};

/// Images of a batch; any number gives the same store.
const BATCH_SIZE: usize = 128;

/// Writes `RUN/atta.db`, unless it is complete already.
///
/// # Errors
/// What reading the run's store or writing the new one refuses.
pub fn write(
    folder: &Path,
    config: &Config,
    perturbations: &Perturbations,
    source: &Store,
    (best, device): (&Path, &ComputeDevice),
) -> Result<()> {
    let path = folder.join(ATTA_STORE);
    let loaded = Loaded::read(best, None, device)?;
    let spec = spec(config, source, &loaded)?;
    let device_name = device::describe(device);
    let existing = Writer::create_or_resume(&path, &spec, &device_name);
    if existing.as_ref().is_ok_and(Writer::is_complete) {
        return Ok(());
    }
    // What a kill left, of this run or of an earlier one.
    drop(existing);
    files::remove(&path)?;
    let mut writer = Writer::create_or_resume(&path, &spec, &device_name)?;
    let mut images = Vec::new();
    source.for_each(Split::Train, |image, _| {
        images.push(image);
        Ok(())
    })?;
    let model = loaded.network.eval()?;
    let kept = Kept {
        perturbations,
        ids: images.iter().map(|image| image.id).collect(),
        radius: config.perturbation.as_ref().map(|of| of.eps.value()),
    };
    for images in images.chunks(BATCH_SIZE) {
        insert(
            &mut writer,
            images,
            &kept,
            (model.as_ref(), config.seed, device),
        )?;
    }
    let hash = writer.finish()?;
    info(format_args!(
        "{}: complete, content hash {hash}",
        path.display()
    ));
    Ok(())
}

fn insert(
    writer: &mut Writer,
    images: &[ImageRow],
    kept: &Kept,
    (model, seed, device): (&dyn Classifier, u64, &ComputeDevice),
) -> Result<()> {
    let pixels: Vec<u8> = images
        .iter()
        .flat_map(|image| image.pixels.to_vec())
        .collect();
    let labels: Vec<u8> = images.iter().map(|image| image.label).collect();
    let ids: Vec<u64> = images.iter().map(|image| image.id).collect();
    let batch = AttackBatch::new(&pixels, &labels, &ids, seed, device)?;
    let predictions = predicted_classes(&model.logits(batch.images())?)?;
    let samples = attacks::generate(kept, model, &batch)?;
    let rows = images
        .iter()
        .zip(predictions)
        .map(|(image, clean_pred)| ImageRow {
            clean_pred,
            ..image.clone()
        });
    writer.insert_images(&rows.collect::<Vec<_>>())?;
    let rows = ids.iter().zip(samples);
    let rows = rows.map(|(id, sample)| SampleRow::new(*id, ATTA.id, sample));
    writer.insert_samples(&rows.collect::<Vec<_>>())
}

/// What the store is: the run's images of train, and one attack.
fn spec(config: &Config, source: &Store, loaded: &Loaded) -> Result<BuildSpec> {
    let params =
        serde_json::json!({ "epochs": config.epochs, "perturbation": config.perturbation });
    let description = loaded.network.describe();
    let model = serde_json::json!(loaded.metadata).to_string();
    let given = &source.meta().spec;
    Ok(BuildSpec {
        preset: ATTA.name.into(),
        images: [source.meta().images_of(Split::Train), 0, 0],
        generator_version: config.version.clone(),
        attacks: vec![AttackRow {
            id: ATTA.id,
            name: ATTA.name.into(),
            params: params.to_string(),
            model_id: 1,
        }],
        model: ModelRow::new(description.to_string(), model, loaded.bytes.clone()),
        ..given.clone()
    })
}

/// The kept perturbations as an attack.
struct Kept<'a> {
    perturbations: &'a Perturbations,
    /// Ids of the training images, ascending; their places are the perturbations' rows.
    ids: Vec<u64>,
    /// Of the ball that they lie in.
    radius: Option<f64>,
}

impl Attack for Kept<'_> {
    fn radius(&self) -> Option<f64> {
        self.radius
    }

    fn perturb(&self, _: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let mut moved = Vec::with_capacity(batch.pixels().len());
        for id in batch.ids() {
            let row = self.ids.partition_point(|other| other < id);
            moved.extend(self.perturbations.whole(row));
        }
        let moved = Tensor::from_vec(moved, batch.images().dims(), batch.device())?;
        Ok(Perturbed {
            images: (batch.images() + moved)?,
            steps: vec![0; batch.len()],
        })
    }
}
