//! Training steps that are recorded as a CUDA graph and replayed, against the same steps operation by operation.

use base::Result;
use candle_core::{Tensor, Var};
use nn::{
    ComputeDevice, Precision, SgdConfig, SgdParam, StepBatch, StepGraph, StepInputs, StepResults,
    model::Network,
};

use super::{floats, gpu, init, random_tensor, with_precision};

const CONFIG: SgdConfig = SgdConfig {
    momentum: 0.9,
    decay: 5e-4,
    nesterov: true,
    clip_norm: Some(2.0),
};

/// A model and its velocities.
struct Trained {
    model: Box<dyn Network>,
    parameters: Vec<(Var, Tensor)>,
}

impl Trained {
    fn new(device: &ComputeDevice) -> Self {
        let model = init(device);
        let variables = model.weights().variables().unwrap().into_values();
        let parameters = variables.map(|var| {
            let velocity = var.zeros_like().unwrap();
            (var, velocity)
        });
        Self {
            parameters: parameters.collect(),
            model,
        }
    }

    fn step(&self, inputs: &StepInputs) -> Result<StepResults> {
        let logits = self.model.train(&inputs.images)?.logits;
        let loss = nn::cross_entropy(&logits, &inputs.labels)?;
        let gradients = nn::backward(&loss)?;
        let param = |(var, velocity): &(Var, Tensor)| SgdParam {
            parameter: var.clone(),
            velocity: velocity.clone(),
            gradient: gradients.get(var).unwrap().clone(),
        };
        let params: Vec<SgdParam> = self.parameters.iter().map(param).collect();
        CONFIG.step(&inputs.rate, &loss, &params)?;
        Ok(StepResults {
            loss: loss.detach(),
            logits: logits.detach(),
        })
    }

    /// The bits of all weights and velocities, running statistics included.
    fn bits(&self) -> Vec<u32> {
        let weights = self.model.weights().tensors().values();
        let velocities = self.parameters.iter().map(|(_, velocity)| velocity);
        weights.chain(velocities).flat_map(bits).collect()
    }
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    floats(tensor).into_iter().map(f32::to_bits).collect()
}

/// Images for steps of so many, each with labels and a rate of its own.
fn batches(device: &ComputeDevice, sizes: &[usize]) -> Vec<(Tensor, Vec<u32>, f32)> {
    let batch = |(i, &size): (usize, &usize)| {
        let images = random_tensor(&[size, 3, 32, 32], 100 + i as u64);
        let labels = (0..size).map(|image| ((7 * i + 3 * image) % 10) as u32);
        let images = images.to_device(device).unwrap();
        (images, labels.collect(), 0.1 / (1 + i) as f32)
    };
    sizes.iter().enumerate().map(batch).collect()
}

#[test]
fn recorded_steps_have_the_bits_of_steps_operation_by_operation() {
    let Some((gpu, _lock)) = gpu("recorded_steps_have_the_bits") else {
        return;
    };
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        let device = with_precision(&gpu, precision, true);
        let (recorded, single) = (Trained::new(&device), Trained::new(&device));
        let mut graph = StepGraph::new(&device).unwrap();
        let mut calls = 0;
        for (i, (images, labels, rate)) in batches(&device, &[6, 6, 6, 4, 6]).iter().enumerate() {
            let batch = StepBatch {
                images,
                labels: labels.clone(),
                rate: *rate,
            };
            let expected = single.step(&batch.inputs().unwrap()).unwrap();
            let step = &mut |inputs: &StepInputs| {
                calls += 1;
                recorded.step(inputs)
            };
            let found = graph.run(&batch, step).unwrap();
            assert_eq!(
                bits(&found.loss),
                bits(&expected.loss),
                "{precision}, step {i}"
            );
            assert_eq!(
                bits(&found.logits),
                bits(&expected.logits),
                "{precision}, step {i}"
            );
        }
        assert!(
            recorded.bits() == single.bits(),
            "{precision}: weights or velocities differ"
        );
        // Run, recorded, replayed, the other shape run, replayed.
        assert_eq!(calls, 3, "{precision}");
        // Memory that has moved is recorded anew.
        graph.forget();
        let (images, labels, rate) = batches(&device, &[6]).remove(0);
        let batch = StepBatch {
            images: &images,
            labels,
            rate,
        };
        graph
            .run(&batch, &mut |inputs| single.step(inputs))
            .unwrap();
        recorded.step(&batch.inputs().unwrap()).unwrap();
        assert!(
            recorded.bits() == single.bits(),
            "{precision}: after forgetting"
        );
    }
}

#[test]
fn a_recorded_step_whose_loss_is_not_finite_moves_no_weight() {
    let Some((gpu, _lock)) = gpu("a_recorded_step_whose_loss_is_not_finite") else {
        return;
    };
    let device = with_precision(&gpu, Precision::F32, true);
    let trained = Trained::new(&device);
    let mut graph = StepGraph::new(&device).unwrap();
    let mut run = |(images, labels, rate): &(Tensor, Vec<u32>, f32)| {
        let batch = StepBatch {
            images,
            labels: labels.clone(),
            rate: *rate,
        };
        let results = graph
            .run(&batch, &mut |inputs| trained.step(inputs))
            .unwrap();
        floats(&results.loss)[0]
    };
    let parameters = || -> Vec<u32> {
        let parameters = trained.parameters.iter();
        parameters
            .flat_map(|(var, velocity)| [bits(var), bits(velocity)].concat())
            .collect()
    };
    let mut batches = batches(&device, &[6, 6, 6]);
    assert!(run(&batches[0]).is_finite() && run(&batches[1]).is_finite());
    let before = parameters();
    batches[2].0 = (&batches[2].0 * f64::NAN).unwrap();
    assert!(!run(&batches[2]).is_finite());
    assert!(parameters() == before);
}

/// Runs a step that cannot be recorded, which adds a number of its own to the rate: `number` makes it, from how often the
/// step was called.
fn assert_run_and_not_recorded(device: &ComputeDevice, number: impl Fn(u32) -> Result<Tensor>) {
    let mut graph = StepGraph::new(device).unwrap();
    let mut calls = 0;
    for (i, (images, labels, rate)) in batches(device, &[2; 4]).into_iter().enumerate() {
        let step = &mut |inputs: &StepInputs| {
            calls += 1;
            // Memory that is freed in the capture, also after it has become invalid.
            let kept = (&inputs.images + 1.0)?;
            let number = number(calls)?;
            drop(kept);
            Ok(StepResults {
                loss: (number.reshape(())? + &inputs.rate)?,
                logits: inputs.images.mean((2, 3))?,
            })
        };
        let batch = StepBatch {
            images: &images,
            labels,
            rate,
        };
        let results = graph.run(&batch, step).unwrap();
        // The second step is called twice, as it could not be recorded.
        let expected = [1.0, 3.0, 4.0, 5.0][i] + rate;
        assert_eq!(floats(&results.loss), [expected]);
    }
}

#[test]
fn a_step_that_uploads_is_run_and_not_recorded() {
    let Some((gpu, _lock)) = gpu("a_step_that_uploads_is_run_and_not_recorded") else {
        return;
    };
    // The number is the step's, and gone when a graph would read it.
    assert_run_and_not_recorded(&gpu, |calls| Ok(Tensor::new(&[calls as f32], &gpu)?));
}

#[test]
fn a_step_that_waits_for_the_device_is_run_and_not_recorded() {
    let Some((gpu, _lock)) = gpu("a_step_that_waits_for_the_device_is_run_and_not_recorded") else {
        return;
    };
    let ones = Tensor::ones(1, candle_core::DType::F32, &gpu).unwrap();
    assert_run_and_not_recorded(&gpu, |calls| {
        // Not allowed while a graph is captured, which is invalid from there on.
        let one = ones.to_vec1::<f32>()?;
        Ok(Tensor::new(&[one[0] * calls as f32], &gpu)?)
    });
}
