//! `trainer bench`: a width, a batch size and a device come in; images per second of a forward
//! pass, an input gradient, training steps and whole attacks go out.

mod arguments;
mod inputs;
mod print;
mod timing;
mod work;

use std::path::PathBuf;

use base::{
    Result, log,
    output::{self, Existing, Form, Output},
};
use nn::{device, model::Architecture};

pub use self::arguments::Bench;
use self::{
    inputs::Inputs,
    print::Row,
    timing::{Budget, Timing},
    work::Work,
};

/// The inputs as an output: a safetensors file that holds images and labels beside a network, as no file of
/// weights does.
const INPUTS: output::Kind = output::Kind {
    name: "a file of bench inputs",
    form: Form::File,
    existing: Existing::Kept,
    matches: |path| {
        let start = output::beginning(path, 1 << 16)?;
        let start = String::from_utf8_lossy(&start);
        Ok(["\"images\"", "\"labels\"", "\"net."]
            .iter()
            .all(|name| start.contains(name)))
    },
};

/// Measures what was asked for and prints it.
pub fn command(args: &Bench) -> Result<()> {
    let claim = |path: &PathBuf| Output::claim(path, &INPUTS, &[], args.force);
    let written = args.write_inputs.as_ref().map(claim).transpose()?;
    let architecture = Architecture::named(&args.arch)?;
    let device = args.device.open()?;
    let place = device::describe(&device);
    log::info(format_args!(
        "{} of width {} on {place}, {} images per run",
        architecture.title, args.width, args.batch_size
    ));
    let inputs = Inputs::new(architecture, args.width, args.batch_size, &device)?;
    if let Some(output) = &written {
        output.write(&inputs.bytes()?)?;
    }
    let wanted = |work: &Work| args.only.is_empty() || args.only.contains(&work.name());
    let rows = Work::all()
        .filter(wanted)
        .map(|work| measure(work, &inputs, args))
        .collect::<Result<Vec<_>>>()
        .map_err(|error| error.of_batch(args.batch_size))?;
    if args.json {
        log::result(print::json(&rows))
    } else {
        log::result(print::table(&rows))
    }
}

fn measure(work: Work, inputs: &Inputs, args: &Bench) -> Result<Row> {
    let budget = Budget {
        seconds: args.seconds,
        runs: args.runs,
    };
    let mut run = work.prepare(inputs)?;
    let mut steps = None;
    let timing = Timing::measure(budget, &inputs.device, || {
        steps = run()?;
        Ok(())
    })?;
    let batch = inputs.labels.len();
    let row = Row {
        name: work.name(),
        width: inputs.description.width,
        batch,
        device: device::name(&inputs.device),
        precision: args.device.precision,
        images_per_s: batch as f64 / timing.median(),
        spread: timing.spread(),
        runs: timing.runs(),
        steps,
    };
    let steps = steps.map_or(String::new(), |n| format!(", {n:.1} steps per image"));
    let rate = print::rate(row.images_per_s);
    log::info(format_args!("{:<16}{rate:>8} images/s{steps}", row.name));
    Ok(row)
}
