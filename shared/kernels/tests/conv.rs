//! Convolution against naive loops: direct and Winograd, all gradients, odd shapes.

mod support;

use kernels::{
    conv::{Epilogue, ForwardWeights, InputGradWeights, bias_gradient, weight_gradient},
    shape::{ConvShape, NhwcShape},
};
use proptest::prelude::*;
use support::{assert_close, normal};

/// Rounding of Winograd's transforms included.
const TOLERANCE: f64 = 2e-5;

/// Calls `f(output, input, weight)` with the indices of every product of the convolution.
fn for_each_product(shape: &ConvShape, mut f: impl FnMut(usize, usize, usize)) {
    let (input, output, kernel) = (shape.input, shape.output(), shape.kernel);
    let inside = |out: usize, k: usize, size: usize| {
        (out * shape.stride + k)
            .checked_sub(shape.padding)
            .filter(|at| *at < size)
    };
    for at in 0..output.numel() / output.channels {
        let (image, y, x) = (
            at / output.positions(),
            at / output.width % output.height,
            at % output.width,
        );
        for (ky, kx) in (0..kernel * kernel).map(|k| (k / kernel, k % kernel)) {
            let (Some(iy), Some(ix)) = (inside(y, ky, input.height), inside(x, kx, input.width))
            else {
                continue;
            };
            let pixel = ((image * input.height + iy) * input.width + ix) * input.channels;
            for (o, c) in (0..shape.c_out).flat_map(|o| (0..input.channels).map(move |c| (o, c))) {
                let weight = ((o * input.channels + c) * kernel + ky) * kernel + kx;
                f(at * shape.c_out + o, pixel + c, weight);
            }
        }
    }
}

/// Sums of the products `left * right` in `len` places.
fn sums(
    shape: &ConvShape,
    len: usize,
    product: impl Fn(usize, usize, usize) -> (usize, f32, f32),
) -> Vec<f64> {
    let mut sums = vec![0.0; len];
    for_each_product(shape, |output, input, weight| {
        let (at, left, right) = product(output, input, weight);
        sums[at] += f64::from(left) * f64::from(right);
    });
    sums
}

/// Forward pass and gradients of a convolution, without an epilogue.
fn check(shape: &ConvShape) {
    let output = shape.output();
    let x = normal(shape.input.numel(), 1);
    let weight = normal(shape.weight_numel(), 2);
    let grad = normal(output.numel(), 3);
    let none = Epilogue::default();

    let y = ForwardWeights::new(shape, &weight).apply(shape, &x, none);
    let expected = sums(shape, output.numel(), |o, i, w| (o, x[i], weight[w]));
    assert_close("output", &y, &expected, TOLERANCE);

    let grad_x = InputGradWeights::new(shape, &weight).apply(shape, &grad, none);
    let expected = sums(shape, x.len(), |o, i, w| (i, grad[o], weight[w]));
    assert_close("input gradient", &grad_x, &expected, TOLERANCE);

    let grad_weight = weight_gradient(shape, &x, &grad);
    let expected = sums(shape, weight.len(), |o, i, w| (w, grad[o], x[i]));
    assert_close("weight gradient", &grad_weight, &expected, TOLERANCE);

    let mut expected = vec![0.0; shape.c_out];
    for (at, grad) in grad.iter().enumerate() {
        expected[at % shape.c_out] += f64::from(*grad);
    }
    assert_close(
        "bias gradient",
        &bias_gradient(shape.c_out, &grad),
        &expected,
        TOLERANCE,
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn direct_convolutions_of_any_kernel_stride_and_padding_equal_the_loops(
        (images, height, width) in (1..4usize, 1..11usize, 1..11usize),
        (channels, c_out) in (1..21usize, 1..36usize),
        (kernel, stride, padding) in (1..5usize, 1..4usize, 0..4usize),
    ) {
        let input = NhwcShape { images, height, width, channels };
        prop_assume!(padding < kernel && height.min(width) + 2 * padding >= kernel);
        check(&ConvShape { input, c_out, kernel, stride, padding });
    }

    #[test]
    fn winograd_convolutions_of_any_size_equal_the_loops(
        (images, height, width) in (1..4usize, 1..11usize, 1..11usize),
        (channels, c_out) in (16..37usize, 16..37usize),
    ) {
        let input = NhwcShape { images, height, width, channels };
        check(&ConvShape { input, c_out, kernel: 3, stride: 1, padding: 1 });
    }
}

#[test]
fn winograd_convolutions_with_large_weights_equal_the_loops() {
    // 36 * 176 * 176 floats: more than `LARGE_WEIGHTS`, so that phases run one after the other.
    let input = NhwcShape {
        images: 3,
        height: 6,
        width: 7,
        channels: 176,
    };
    check(&ConvShape {
        input,
        c_out: 176,
        kernel: 3,
        stride: 1,
        padding: 1,
    });
}

#[test]
fn windows_deeper_than_a_depth_block_equal_the_loops() {
    let input = NhwcShape {
        images: 2,
        height: 5,
        width: 6,
        channels: 150,
    };
    check(&ConvShape {
        input,
        c_out: 20,
        kernel: 3,
        stride: 2,
        padding: 1,
    });
}

#[test]
fn an_epilogue_adds_bias_and_residual_applies_relu_and_masks_by_a_relu_output() {
    for (channels, c_out) in [(5, 7), (16, 24)] {
        let input = NhwcShape {
            images: 2,
            height: 6,
            width: 5,
            channels,
        };
        let shape = ConvShape {
            input,
            c_out,
            kernel: 3,
            stride: 1,
            padding: 1,
        };
        let x = normal(shape.input.numel(), 1);
        let weights = ForwardWeights::new(&shape, &normal(shape.weight_numel(), 2));
        let len = shape.output().numel();
        let (bias, residual, gate) = (normal(c_out, 3), normal(len, 4), normal(len, 5));
        let plain = weights.apply(&shape, &x, Epilogue::default());
        // Bias alone, then each part on top of it.
        for (add, relu, masked) in [
            (false, false, false),
            (true, false, false),
            (false, true, false),
            (false, false, true),
            (true, true, true),
        ] {
            let epilogue = Epilogue {
                bias: Some(&bias),
                residual: add.then_some(residual.as_slice()),
                relu,
                relu_output: masked.then_some(gate.as_slice()),
            };
            let expected: Vec<f64> = (0..len)
                .map(|at| {
                    let added = if add { residual[at] } else { 0.0 };
                    let sum = f64::from(plain[at] + bias[at % c_out] + added);
                    let sum = if masked && gate[at] <= 0.0 { 0.0 } else { sum };
                    if relu { sum.max(0.0) } else { sum }
                })
                .collect();
            assert_close(
                "output",
                &weights.apply(&shape, &x, epilogue),
                &expected,
                1e-6,
            );
        }
    }
}

#[test]
fn an_image_has_the_same_bits_in_any_batch_and_with_any_number_of_threads() {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for (channels, c_out, stride) in [(3, 20, 1), (20, 40, 1), (20, 40, 2)] {
        let input = NhwcShape {
            images: 7,
            height: 8,
            width: 8,
            channels,
        };
        let shape = ConvShape {
            input,
            c_out,
            kernel: 3,
            stride,
            padding: 1,
        };
        let (x, weight) = (normal(input.numel(), 1), normal(shape.weight_numel(), 2));
        let grad = normal(shape.output().numel(), 3);
        let none = Epilogue::default();
        let all = || {
            [
                ForwardWeights::new(&shape, &weight).apply(&shape, &x, none),
                InputGradWeights::new(&shape, &weight).apply(&shape, &grad, none),
                weight_gradient(&shape, &x, &grad),
                bias_gradient(c_out, &grad),
            ]
            .map(|values| bits(&values))
        };
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(all)
        };
        let expected = with_threads(1);
        assert!(expected == with_threads(2) && expected == with_threads(5));
        let one = ConvShape {
            input: NhwcShape { images: 1, ..input },
            ..shape
        };
        let y = ForwardWeights::new(&one, &weight).apply(&one, &x[..input.image_numel()], none);
        assert!(expected[0].starts_with(&bits(&y)));
    }
}
