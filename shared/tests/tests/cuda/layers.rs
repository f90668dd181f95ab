//! Layers on CUDA against the CPU: the value and every gradient of one layer at a time, in every precision. Through a
//! whole network rounding is amplified until gradients differ by their own size, so wrong ones would not be found
//! there.

use candle_core::{DType, Device, Result, Tensor, Var};
use nn::{
    BatchNormParams, ComputeDevice, ComputeOptions, Conv2d, ConvBn, DropoutMask, FoldedConvBn,
    Precision, ResidualLayer, RunningStatistics, SublayerWeights,
};

use super::{assert_near, gpu, random_tensor, with_precision};

/// Largest relative distances of values and of gradients: three times the largest that
/// `scripts/cuda/simulate-rounding` prints for any layer; in f32 ten times more, since Winograd's algorithm, which
/// cuDNN may choose, loses about a digit.
const BOUNDS: [(Precision, f64, f64); 3] = [
    (Precision::F32, 3e-5, 1e-4),
    (Precision::Tf32, 5e-3, 1.5e-2),
    (Precision::Bf16, 3e-2, 6e-2),
];

/// The gradients do not depend on results whose ReLU's input is closer to zero than this: rounding decides whether
/// it is cut.
const MARGIN: f64 = 0.1;

/// Uniform in ±`bound`.
pub fn signed(shape: &[usize], bound: f64, key: u64) -> Tensor {
    let unit = random_tensor(shape, key);
    unit.affine(2.0 * bound, -bound).unwrap()
}

/// A weight `[O,I,k,k]` that keeps the variance.
fn weight(shape: [usize; 4], key: u64) -> Tensor {
    let fan_in: usize = shape[1..].iter().product();
    signed(&shape, (3.0 / fan_in as f64).sqrt(), key)
}

fn gamma(channels: usize, key: u64) -> Tensor {
    (signed(&[channels], 0.25, key) + 1.0).unwrap()
}

/// Shifts that put each channel wholly above or below zero, so that no rounding decides what a ReLU cuts.
fn decided(channels: usize) -> Tensor {
    let shift = |channel| if channel % 3 == 0 { -6f32 } else { 6.0 };
    let shifts: Vec<f32> = (0..channels).map(shift).collect();
    Tensor::new(shifts, &Device::Cpu).unwrap()
}

/// Weight, gamma and beta of a convolution with batch norm.
fn conv_bn(shape: [usize; 4], beta: Tensor, key: u64) -> [Tensor; 3] {
    [weight(shape, key), gamma(shape[0], key + 1), beta]
}

/// Results of a case, of which the first is differentiated.
type Run<'a> = &'a dyn Fn(&[Tensor], ComputeOptions) -> Result<Vec<Tensor>>;

/// The inputs of the ReLU that a result comes from.
type ReluInput<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// Compares a function's results, and the gradients of all arguments, on both devices. `relu_input` gives the inputs
/// of the ReLU that the result comes from.
pub fn compare(
    name: &str,
    gpu: &ComputeDevice,
    arguments: &[Tensor],
    run: Run,
    relu_input: Option<ReluInput>,
) {
    let differentiate = |device: &Device, options, loss_weights: Option<&Tensor>| {
        let on_device = |t: &Tensor| Var::from_tensor(&t.to_device(device).unwrap()).unwrap();
        let variables: Vec<Var> = arguments.iter().map(on_device).collect();
        let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
        let results = run(&tensors, options).unwrap();
        let Some(loss_weights) = loss_weights else {
            return (results, vec![]);
        };
        let y = results[0].to_dtype(DType::F32).unwrap();
        let loss = (y * loss_weights.to_device(device).unwrap()).unwrap();
        let gradients = nn::backward(&loss.sum_all().unwrap()).unwrap();
        let gradient = |v| gradients.get(v).unwrap().clone();
        (results, variables.iter().map(|v| gradient(v)).collect())
    };
    let options = ComputeOptions::default();
    let shape = differentiate(&Device::Cpu, options, None).0[0]
        .dims()
        .to_vec();
    let mut loss_weights = signed(&shape, 1.0, 77);
    if let Some(relu_input) = relu_input {
        let counts = relu_input(arguments).unwrap().abs().unwrap().gt(MARGIN);
        let counts = counts.unwrap().to_dtype(DType::F32).unwrap();
        loss_weights = (loss_weights * counts).unwrap();
    }
    let (values, gradients) = differentiate(&Device::Cpu, options, Some(&loss_weights));
    for (precision, value_bound, gradient_bound) in BOUNDS {
        let gpu = with_precision(gpu, precision, false);
        let found = differentiate(&gpu, gpu.options, Some(&loss_weights));
        for (i, (found, expected)) in std::iter::zip(&found.0, &values).enumerate() {
            let what = format!("{name}, {precision}: result {i}");
            assert_near(&what, found, expected, value_bound);
        }
        for (i, (found, expected)) in std::iter::zip(&found.1, &gradients).enumerate() {
            let what = format!("{name}, {precision}: gradient {i}");
            assert_near(&what, found, expected, gradient_bound);
        }
    }
}

fn filter(weight: &Tensor, stride: usize, options: ComputeOptions) -> Conv2d {
    Conv2d {
        weight: weight.clone(),
        stride,
        // 3x3 filters keep the size, 1x1 filters have nothing around them.
        padding: weight.dims()[2] / 2,
        options,
    }
}

/// The layer of a stack from weight, gamma and beta.
fn layer(arguments: &[Tensor], stride: usize, options: ComputeOptions) -> ConvBn {
    ConvBn {
        filter: filter(&arguments[0], stride, options),
        gamma: arguments[1].clone(),
        beta: arguments[2].clone(),
        running: zeros(&arguments[1]),
    }
}

/// Running statistics of 0, which a pass moves to a tenth of the batch's.
fn zeros(gamma: &Tensor) -> RunningStatistics {
    let zeros = || gamma.zeros_like().unwrap().detach();
    RunningStatistics {
        mean: zeros(),
        variance: zeros(),
    }
}

/// The result of a stack in training mode, and each layer's running statistics.
fn train(x: &Tensor, stack: &[ResidualLayer<ConvBn>]) -> Result<Vec<Tensor>> {
    let y = nn::residual_train(x, stack)?;
    let layers = stack.iter().flat_map(ResidualLayer::layers);
    let statistics = layers.flat_map(|layer| [&layer.running.mean, &layer.running.variance]);
    Ok([&y].into_iter().chain(statistics).cloned().collect())
}

/// The same layer without its ReLU, on the CPU.
fn normalized(x: &Tensor, arguments: &[Tensor], stride: usize) -> Result<Tensor> {
    let filter = filter(&arguments[0], stride, ComputeOptions::default());
    let y = nn::conv2d(x, &filter, None)?;
    nn::batch_norm_train(&y, &arguments[1], &arguments[2], &zeros(&arguments[1]))
}

#[test]
fn one_convolution_with_batch_norm_and_relu_and_its_gradients_equal_the_cpus_in_every_precision() {
    let Some((gpu, _lock)) = gpu("one_convolution_with_batch_norm_and_relu") else {
        return;
    };
    // Channels with and without padding to eights, strides, and both kernel sizes.
    for (c_in, c_out, kernel, stride) in [
        (3, 12, 3, 1),
        (12, 24, 3, 2),
        (24, 24, 3, 1),
        (12, 24, 1, 2),
    ] {
        let x = signed(&[4, 16, 16, c_in], 1.0, 1);
        let beta = signed(&[c_out], 0.2, 2);
        let [weight, gamma, beta] = conv_bn([c_out, c_in, kernel, kernel], beta, 3);
        compare(
            &format!("{kernel}x{kernel} from {c_in} to {c_out} channels, stride {stride}"),
            &gpu,
            &[x, weight, gamma, beta],
            &|a, options| {
                train(
                    &a[0],
                    &[ResidualLayer::Plain(layer(&a[1..], stride, options))],
                )
            },
            Some(&|a| normalized(&a[0], &a[1..], stride)),
        );
    }
}

#[test]
fn one_residual_block_and_its_gradients_equal_the_cpus_in_every_precision() {
    let Some((gpu, _lock)) = gpu("one_residual_block") else {
        return;
    };
    for (c_in, c_out, stride) in [(12, 24, 2), (24, 24, 1)] {
        let has_shortcut = stride > 1;
        let mut arguments = vec![random_tensor(&[4, 16, 16, c_in], 1)];
        let beta = |key| signed(&[c_out], 0.2, key);
        arguments.extend(conv_bn([c_out, c_in, 3, 3], decided(c_out), 10));
        arguments.extend(conv_bn([c_out, c_out, 3, 3], beta(2), 20));
        if has_shortcut {
            arguments.extend(conv_bn([c_out, c_in, 1, 1], beta(3), 30));
        }
        let block = |a: &[Tensor], options| ResidualLayer::Block {
            first: layer(&a[1..], stride, options),
            second: layer(&a[4..], 1, options),
            shortcut: has_shortcut.then(|| layer(&a[7..], stride, options)),
        };
        compare(
            &format!("a block from {c_in} to {c_out} channels"),
            &gpu,
            &arguments,
            &|a, options| train(&a[0], &[block(a, options)]),
            Some(&|a| {
                let inner = nn::relu(&normalized(&a[0], &a[1..], stride)?)?;
                let shortcut = match has_shortcut {
                    true => normalized(&a[0], &a[7..], stride)?,
                    false => a[0].clone(),
                };
                nn::add(&normalized(&inner, &a[4..], 1)?, &shortcut)
            }),
        );
    }
}

#[test]
fn one_frozen_residual_block_and_its_input_gradient_equal_the_cpus_in_every_precision() {
    let Some((gpu, _lock)) = gpu("one_frozen_residual_block") else {
        return;
    };
    let channels = 24;
    let norm = |beta: Tensor, key| BatchNormParams {
        gamma: gamma(channels, key),
        beta,
        mean: signed(&[channels], 0.1, key + 1),
        variance: (random_tensor(&[channels], key + 2) + 0.5).unwrap(),
    };
    let norms = [
        norm(decided(channels), 10),
        norm(signed(&[channels], 0.2, 3), 20),
    ];
    let weights = [4, 5].map(|key| weight([channels, channels, 3, 3], key));
    let folded = |i: usize, device: &Device, options| {
        let on = |t: &Tensor| t.to_device(device).unwrap();
        let BatchNormParams {
            gamma,
            beta,
            mean,
            variance,
        } = &norms[i];
        let norm = BatchNormParams {
            gamma: on(gamma),
            beta: on(beta),
            mean: on(mean),
            variance: on(variance),
        };
        FoldedConvBn::new(&filter(&on(&weights[i]), 1, options), &norm)
    };
    compare(
        "a frozen block",
        &gpu,
        &[random_tensor(&[4, 16, 16, channels], 1)],
        &|a, options| {
            let block = ResidualLayer::Block {
                first: folded(0, a[0].device(), options)?,
                second: folded(1, a[0].device(), options)?,
                shortcut: None,
            };
            Ok(vec![nn::residual_eval(&a[0], &[block])?])
        },
        Some(&|a| {
            let options = ComputeOptions::default();
            let map = |x: &Tensor, i: usize| {
                let y = nn::conv2d(x, &filter(&weights[i], 1, options), None)?;
                nn::batch_norm_eval(&y, &norms[i])
            };
            nn::add(&map(&nn::relu(&map(&a[0], 0)?)?, 1)?, &a[0])
        }),
    );
}

#[test]
fn one_convolution_and_transposed_convolution_with_bias_equal_the_cpus_in_every_precision() {
    let Some((gpu, _lock)) = gpu("one_convolution_and_transposed_convolution_with_bias") else {
        return;
    };
    let x = signed(&[4, 8, 8, 24], 1.0, 1);
    let bias = signed(&[12], 1.0, 2);
    compare(
        "a convolution with bias",
        &gpu,
        &[x.clone(), weight([12, 24, 3, 3], 3), bias.clone()],
        &|a, options| {
            let filter = filter(&a[1], 2, options);
            Ok(vec![nn::conv2d(&a[0], &filter, Some(&a[2]))?])
        },
        None,
    );
    compare(
        "a transposed convolution",
        &gpu,
        &[x, weight([24, 12, 2, 2], 4), bias],
        &|a, options| Ok(vec![nn::conv_transpose2d(&a[0], &a[1], &a[2], 2, options)?]),
        None,
    );
}

#[test]
fn one_transformer_layer_with_dropout_and_its_gradients_equal_the_cpus_in_every_precision() {
    let Some((gpu, _lock)) = gpu("one_transformer_layer_with_dropout") else {
        return;
    };
    const SIZE: usize = 64;
    let pair = |outputs: usize, inputs: usize, key| {
        [
            signed(&[outputs, inputs], (3.0 / inputs as f64).sqrt(), key),
            signed(&[outputs], 0.2, key + 1),
        ]
    };
    let mut arguments = vec![signed(&[3, 33, SIZE], 1.0, 1)];
    for (i, (outputs, inputs)) in [(3 * SIZE, SIZE), (4 * SIZE, 4 * SIZE)]
        .into_iter()
        .enumerate()
    {
        let key = 10 * (i as u64 + 1);
        arguments.extend([gamma(SIZE, key), signed(&[SIZE], 0.2, key + 1)]);
        arguments.extend(pair(outputs, SIZE, key + 2));
        arguments.extend(pair(SIZE, inputs, key + 4));
    }
    let sublayer = |a: &[Tensor], options| SublayerWeights {
        norm: [a[0].clone(), a[1].clone()],
        first: [a[2].clone(), a[3].clone()],
        second: [a[4].clone(), a[5].clone()],
        eps: 1e-6,
        options,
    };
    let mask = |key| Some(DropoutMask::new(0.1, key));
    for class_token_alone in [false, true] {
        compare(
            &format!("a Transformer layer, class token alone: {class_token_alone}"),
            &gpu,
            &arguments,
            &|a, options| {
                let (attention, forward) = (sublayer(&a[1..], options), sublayer(&a[7..], options));
                let x = match class_token_alone {
                    false => nn::attention_sublayer(&a[0], &attention, 4, mask(1))?,
                    true => nn::cls_attention_sublayer(&a[0], &attention, 4, mask(1))?,
                };
                Ok(vec![nn::feed_forward_sublayer(
                    &x,
                    &forward,
                    [mask(2), mask(3)],
                )?])
            },
            None,
        );
    }
}
