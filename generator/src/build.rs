//! `generator build`: images and a model come in; every image is judged and attacked, batch by
//! batch, and each batch of each attack goes into the store in one transaction. What the store
//! already has is not computed again, so a killed build goes on where it was.

use std::ops::Range;

use attacks::{AttackBatch, AttackKind, SplitStyles, quantize};
use base::{Error, Result, log, output, progress::Progress, signal::Stop};
use candle_core::Device;
use data::{Dataset, Image, Split};
use nn::{
    Precision, device,
    model::{Classifier, Loaded, predicted_classes},
};
use store::{ImageRow, SampleRow, Shard, Writer};

use crate::{arguments::Build, identity, warnings};

/// Builds the store, or what is missing of it.
pub fn command(args: &Build) -> Result<()> {
    if args.device.precision == Precision::Bf16 {
        let advice = "attacks look for small differences: take f32 or tf32";
        return Err(Error::Usage(format!("--precision bf16: {advice}")));
    }
    let mut inputs = vec![args.data.as_path(), args.model.as_path()];
    inputs.extend(args.parameters.attacks_config.as_deref());
    let out = output::check(&args.out, &store::OUTPUT, &inputs, args.force)?;
    let device = args.device.open()?;
    let config = args.parameters.load()?;
    let kinds = args.kinds()?;
    let shard = args.shard()?;
    let loaded = Loaded::read(&args.model, args.normalization.given()?, &device)?;
    let data = data::load(&args.data, args.seed, args.limit)?;
    let description = loaded.network.describe();
    description.check_classes(&args.model.display(), data.classes.len())?;
    check_styles(&kinds, &data)?;
    let model = identity::surrogate(&loaded);
    let identity = identity::of(args, &config, &kinds, &data, model, shard);
    let (network, metadata) = (loaded.network, loaded.metadata);
    let stop = Stop::listen()?;
    if args.force {
        Writer::remove(&out)?;
    }
    let mut writer = Writer::create_or_resume(&out, &identity, &device::describe(&device))?;
    if writer.is_complete() {
        log::info(format_args!("{}: already complete", args.out.display()));
        return Ok(());
    }
    let part = match shard {
        Shard::WHOLE => String::new(),
        part => format!(", shard {part}"),
    };
    log::info(format_args!(
        "building {} on {}{part}: {} images, attacks {} ({}), against {description}, seed {}",
        args.out.display(),
        device::describe(&device),
        identity.image_count(),
        kinds
            .iter()
            .map(|kind| kind.name())
            .collect::<Vec<_>>()
            .join(", "),
        args.parameters.preset,
        args.seed,
    ));
    device::log_memory(&device, network.activation_count(false), args.batch_size)?;
    let model = network.eval()?;
    let build = Builder {
        args,
        net: model.as_ref(),
        data: &data,
        shard,
        device: &device,
        stop: &stop,
    };
    warnings::check_seed(&args.model, &metadata, &data, args.seed);
    build.images(&mut writer).map_err(|error| {
        error
            .of_batch(args.batch_size)
            .found_in(&args.model.display())
    })?;
    warnings::check_accuracy(&args.model, &metadata, &writer.store().counts()?);
    let attacks: Vec<_> = kinds
        .iter()
        .map(|kind| (*kind, config.build(*kind)))
        .collect();
    build.samples(&mut writer, &attacks).map_err(|error| {
        error
            .of_batch(args.batch_size)
            .found_in(&args.model.display())
    })?;
    device::log_peak_memory(&device)?;
    warnings::check_unchanged(&writer.store().summary()?);
    writer.add_warnings(&log::warnings())?;
    let hash = writer.finish()?;
    log::info(format_args!(
        "{}: complete, content hash {hash}",
        args.out.display()
    ));
    Ok(())
}

/// Style transfer needs an image of another class in every split that has images.
fn check_styles(kinds: &[AttackKind], data: &Dataset) -> Result<()> {
    let Some(kind) = kinds.iter().find(|kind| kind.traits().needs_style) else {
        return Ok(());
    };
    for split in Split::ALL {
        let images = data.split(split);
        if let Some(first) = images
            .first()
            .filter(|first| images.iter().all(|i| i.label == first.label))
        {
            let class = &data.classes[usize::from(first.label)];
            return Err(Error::data(
                format!("images of {split}"),
                format!("only the class {class}"),
                format!(
                    "two classes at least, for {kind} takes its style from another (leave {kind} out, or take more images)"
                ),
            ));
        }
    }
    Ok(())
}

const RESUME: &str = "the same command goes on from here";

struct Builder<'a> {
    args: &'a Build,
    net: &'a dyn Classifier,
    data: &'a Dataset,
    shard: Shard,
    device: &'a Device,
    stop: &'a Stop,
}

impl Builder<'_> {
    /// Ids of the shard's images in a split.
    fn ids(&self, split: Split) -> Range<u64> {
        let first = self.first_id(split);
        let part = self.shard.range(self.data.split(split).len() as u64);
        first + part.start..first + part.end
    }

    /// The same of all splits, in batches.
    fn batches(&self) -> impl Iterator<Item = (Split, Range<u64>)> {
        let size = self.args.batch_size as u64;
        Split::ALL.into_iter().flat_map(move |split| {
            let Range { start, end } = self.ids(split);
            (start..end)
                .step_by(size as usize)
                .map(move |start| (split, start..end.min(start + size)))
        })
    }

    /// How many there are.
    fn len(&self) -> u64 {
        let ids = Split::ALL.map(|split| self.ids(split));
        ids.iter().map(|ids| ids.end - ids.start).sum()
    }

    fn first_id(&self, split: Split) -> u64 {
        let before = Split::ALL.into_iter().take_while(|other| *other != split);
        before
            .map(|other| self.data.split(other).len() as u64)
            .sum()
    }

    fn pictures(&self, split: Split, ids: &[u64]) -> Vec<&Image> {
        let first = self.first_id(split);
        let pictures = self.data.split(split);
        ids.iter()
            .map(|id| &pictures[(id - first) as usize])
            .collect()
    }

    /// Judges and stores the clean images.
    fn images(&self, writer: &mut Writer) -> Result<()> {
        let present = writer.images_present()?;
        let mut bar = Progress::new("clean images", self.len() - present);
        for (split, range) in self.batches() {
            let ids = writer.missing_images(range)?;
            if ids.is_empty() {
                continue;
            }
            self.stop.check(RESUME)?;
            let pictures = self.pictures(split, &ids);
            let images = quantize::to_tensor(&bytes(&pictures), self.device)?;
            let classes = predicted_classes(&self.net.logits(&images)?)?;
            let row = |((id, picture), clean_pred): ((&u64, &&Image), u8)| {
                ImageRow::new(*id, split, picture, clean_pred)
            };
            let rows: Vec<ImageRow> = ids.iter().zip(&pictures).zip(classes).map(row).collect();
            writer.insert_images(&rows)?;
            bar.add(ids.len() as u64, "");
        }
        bar.finish();
        Ok(())
    }

    /// Attacks the images and stores what comes out.
    fn samples(
        &self,
        writer: &mut Writer,
        attacks: &[(AttackKind, Box<dyn attacks::Attack>)],
    ) -> Result<()> {
        let mut missing = 0;
        for (kind, _) in attacks {
            for split in Split::ALL {
                missing += writer
                    .missing_samples(i64::from(kind.id()), self.ids(split))?
                    .len() as u64;
            }
        }
        let mut bar = Progress::new("attacks", missing);
        for (split, range) in self.batches() {
            for (kind, attack) in attacks {
                let ids = writer.missing_samples(i64::from(kind.id()), range.clone())?;
                if ids.is_empty() {
                    continue;
                }
                self.stop.check(RESUME)?;
                let rows = self.attack(*kind, attack.as_ref(), split, &ids)?;
                writer.insert_samples(&rows)?;
                bar.add(ids.len() as u64, kind.name());
            }
        }
        bar.finish();
        Ok(())
    }

    fn attack(
        &self,
        kind: AttackKind,
        attack: &dyn attacks::Attack,
        split: Split,
        ids: &[u64],
    ) -> Result<Vec<SampleRow>> {
        let pictures = self.pictures(split, ids);
        let labels: Vec<u8> = pictures.iter().map(|picture| picture.label).collect();
        let clean = bytes(&pictures);
        let styles = SplitStyles(self.data.split(split));
        let batch = AttackBatch::new(&clean, &labels, ids, self.args.seed, self.device)?;
        let samples = attacks::generate(attack, self.net, &batch.with_styles(&styles))?;
        let attack_id = i64::from(kind.id());
        let rows = std::iter::zip(ids, samples);
        Ok(rows
            .map(|(id, sample)| SampleRow::new(*id, attack_id, sample))
            .collect())
    }
}

fn bytes(pictures: &[&Image]) -> Vec<u8> {
    pictures
        .iter()
        .flat_map(|p| p.pixels.iter().copied())
        .collect()
}
