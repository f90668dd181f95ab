//! Convolution and transposed convolution.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn convolution_and_its_gradients_equal_stock_candle(
        images in 1usize..5, c_in in 1usize..40, c_out in 1usize..40,
        height in 3usize..19, wider in 0usize..6,
        (kernel, stride, padding) in prop_oneof![
            Just((3, 1, 1)), Just((3, 2, 1)), Just((1, 1, 0)), Just((1, 2, 0)),
            Just((2, 2, 0)), Just((3, 1, 0)),
        ],
    ) {
        // Stock candle's gradient needs the same remainder of the stride in both directions.
        let arguments = [
            random(&[images, height, height + stride * wider, c_in], 1),
            random(&[c_out, c_in, kernel, kernel], 2),
            random(&[c_out], 3),
        ];
        assert_same(
            |a| conv2d(&a[0], &filter(&a[1], stride, padding), Some(&a[2])),
            |a| {
                let filter = filter(&a[1], stride, padding);
                reference::conv2d(&a[0], &filter)?.broadcast_add(&a[2])
            },
            &arguments,
        );
    }

    #[test]
    fn transposed_convolution_and_its_gradients_equal_stock_candle(
        images in 1usize..4, c_in in 1usize..20, c_out in 1usize..20,
        height in 1usize..9, width in 1usize..9,
    ) {
        let arguments = [
            random(&[images, height, width, c_in], 1),
            random(&[c_in, c_out, 2, 2], 2),
            random(&[c_out], 3),
        ];
        assert_same(
            |a| conv_transpose2d(&a[0], &a[1], &a[2], 2, ComputeOptions::default()),
            |a| reference::conv_transpose2d(&a[0], &a[1], 2)?.broadcast_add(&a[2]),
            &arguments,
        );
    }

    #[test]
    fn an_image_convolves_to_the_same_bits_in_any_batch(
        images in 1usize..9, c_in in 1usize..20, c_out in 1usize..20, size in 1usize..6,
        stride in 1usize..3,
    ) {
        let side = 1 << size;
        let x = random(&[images, side, side, c_in], 1);
        let (weight, bias) = (random(&[c_out, c_in, 3, 3], 2), random(&[c_out], 3));
        let bits = |x: &Tensor| -> Vec<f32> {
            let y = conv2d(x, &filter(&weight, stride, 1), Some(&bias)).unwrap();
            y.flatten_all().unwrap().to_vec1().unwrap()
        };
        let alone: Vec<f32> = (0..images).flat_map(|i| bits(&x.narrow(0, i, 1).unwrap())).collect();
        prop_assert_eq!(bits(&x), alone);
    }
}

#[test]
fn a_constant_weight_gets_no_gradient() {
    let x = Var::from_tensor(&random(&[2, 8, 8, 3], 1)).unwrap();
    let (weight, bias) = (random(&[4, 3, 3, 3], 2), random(&[4], 3));
    let y = conv2d(&x, &filter(&weight, 1, 1), Some(&bias)).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_some());
    assert!(gradients.get(&weight).is_none() && gradients.get(&bias).is_none());
}
