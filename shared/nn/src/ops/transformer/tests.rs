//! Transformer sublayers against candle's autograd, on random shapes.

use candle_core::Var;
use proptest::prelude::*;

use super::{
    super::tests::{assert_same, bits, random},
    *,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn transformer_sublayers_and_their_gradients_equal_stock_candle(
        batch in 1usize..4, tokens in 1usize..40, size in 1usize..12, inner in 1usize..40,
        heads in prop_oneof![Just(1), Just(4)], drops: bool,
    ) {
        let width = heads * size;
        let x = (random(&[batch, tokens, width], 1) * 3.0).unwrap();
        let weights = |hidden: usize, inner: usize| {
            let shapes: [&[usize]; 6] =
                [&[width], &[width], &[hidden, width], &[hidden], &[width, inner], &[width]];
            let weight = |(shape, key): (&[usize], u64)| random(shape, key);
            std::iter::once(x.clone()).chain(shapes.into_iter().zip(2..).map(weight)).collect::<Vec<_>>()
        };
        let sublayer = |a: &[Var]| {
            let pair = |i: usize| [a[i].as_tensor().clone(), a[i + 1].as_tensor().clone()];
            // Rows of few numbers may be nearly constant, which magnifies rounding.
            SublayerWeights { norm: pair(1), first: pair(3), second: pair(5), eps: 1e-2, options: ComputeOptions::default() }
        };
        let mask = |key| drops.then(|| DropoutMask::new(0.3, key));
        let masks = [mask(1), mask(2)];
        assert_same(
            |a| feed_forward_sublayer(&a[0], &sublayer(a), masks),
            |a| composed::feed_forward_sublayer(&a[0], &sublayer(a), masks),
            &weights(inner, inner),
        );
        let weights = weights(3 * width, width);
        assert_same(
            |a| attention_sublayer(&a[0], &sublayer(a), heads, mask(3)),
            |a| composed::attention_sublayer(&a[0], &sublayer(a), heads, mask(3)),
            &weights,
        );
        // Of a class token alone the mask is another's.
        assert_same(
            |a| cls_attention_sublayer(&a[0], &sublayer(a), heads, None),
            |a| composed::attention_sublayer(&a[0], &sublayer(a), heads, None)?.narrow(1, 0, 1),
            &weights,
        );
        assert_same(
            |a| cls_attention_sublayer(&a[0], &sublayer(a), heads, mask(4)),
            |a| composed::cls_attention_sublayer(&a[0], &sublayer(a), heads, mask(4)),
            &weights,
        );
    }

    #[test]
    fn transformer_sublayers_by_parts_and_their_gradients_equal_stock_candle(
        batch in 1usize..4, tokens in 1usize..12, size in 1usize..12, inner in 1usize..40,
        heads in prop_oneof![Just(1), Just(4)], drops: bool,
    ) {
        let width = heads * size;
        let x = (random(&[batch, tokens, width], 1) * 3.0).unwrap();
        let mask = |key| drops.then(|| DropoutMask::new(0.3, key));
        let parts = [false, true].map(|only_first| Part::Attention { heads, only_first });
        for part in parts.into_iter().chain([Part::FeedForward { inner: mask(1) }]) {
            let (hidden, inner) = match part {
                Part::Attention { .. } => (3 * width, width),
                Part::FeedForward { .. } => (inner, inner),
            };
            let shapes: [&[usize]; 6] =
                [&[width], &[width], &[hidden, width], &[hidden], &[width, inner], &[width]];
            let weight = |(shape, key): (&[usize], u64)| random(shape, key);
            let arguments: Vec<Tensor> =
                std::iter::once(x.clone()).chain(shapes.into_iter().zip(2..).map(weight)).collect();
            let sublayer = |a: &[Var]| {
                let pair = |i: usize| [a[i].as_tensor().clone(), a[i + 1].as_tensor().clone()];
                let options = ComputeOptions::default();
                SublayerWeights { norm: pair(1), first: pair(3), second: pair(5), eps: 1e-2, options }
            };
            assert_same(
                |a| sublayer(a).by_parts(part, &a[0], mask(2)),
                |a| match part {
                    Part::Attention { only_first: true, .. } =>
                        composed::cls_attention_sublayer(&a[0], &sublayer(a), heads, mask(2)),
                    Part::Attention { .. } =>
                        composed::attention_sublayer(&a[0], &sublayer(a), heads, mask(2)),
                    Part::FeedForward { inner } =>
                        composed::feed_forward_sublayer(&a[0], &sublayer(a), [inner, mask(2)]),
                },
                &arguments,
            );
        }
    }

    #[test]
    fn embedding_and_its_gradients_equal_stock_candle(
        batch in 1usize..4, tokens in 1usize..40, size in 1usize..40, drops: bool,
    ) {
        let arguments = [
            random(&[batch, tokens, size], 1),
            random(&[1, 1, size], 2),
            random(&[1, tokens + 1, size], 3),
        ];
        let mask = drops.then(|| DropoutMask::new(0.3, 9));
        assert_same(
            |a| embed(&a[0], &a[1], &a[2], mask),
            |a| composed::embed(&a[0], &a[1], &a[2], mask),
            &arguments,
        );
    }
}

#[test]
fn a_transformer_has_the_same_bits_with_one_thread_and_with_four() {
    const WIDTH: usize = 24;
    let mut arguments = vec![
        random(&[70, 30, WIDTH], 1),
        random(&[1, 1, WIDTH], 2),
        random(&[1, 31, WIDTH], 3),
    ];
    for (hidden, inner) in [(3 * WIDTH, WIDTH), (40, 40)] {
        let shapes: [&[usize]; 6] = [
            &[WIDTH],
            &[WIDTH],
            &[hidden, WIDTH],
            &[hidden],
            &[WIDTH, inner],
            &[WIDTH],
        ];
        arguments.extend(shapes.map(|shape| random(shape, arguments.len() as u64)));
    }
    let model = |a: &[Var]| {
        let pair = |i: usize| [a[i].as_tensor().clone(), a[i + 1].as_tensor().clone()];
        let sublayer = |i: usize| SublayerWeights {
            norm: pair(i),
            first: pair(i + 2),
            second: pair(i + 4),
            eps: 1e-6,
            options: ComputeOptions::default(),
        };
        let mask = |key| Some(DropoutMask::new(0.1, key));
        let x = embed(&a[0], &a[1], &a[2], mask(1))?;
        let x = attention_sublayer(&x, &sublayer(3), 4, mask(2))?;
        let x = feed_forward_sublayer(&x, &sublayer(9), [mask(3), mask(4)])?;
        cls_attention_sublayer(&x, &sublayer(3), 4, mask(5))
    };
    assert_eq!(bits(1, model, &arguments), bits(4, model, &arguments));
}

#[test]
fn constant_weights_of_a_transformer_sublayer_get_no_gradient() {
    let x = Var::from_tensor(&random(&[2, 3, 8], 1)).unwrap();
    let pair = |shape: &[usize], key| [random(shape, key), random(&shape[..1], key + 1)];
    let weights = SublayerWeights {
        norm: [random(&[8], 2), random(&[8], 3)],
        first: pair(&[24, 8], 4),
        second: pair(&[8, 8], 6),
        eps: 1e-6,
        options: ComputeOptions::default(),
    };
    let y = attention_sublayer(&x, &weights, 2, None).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_some() && gradients.get_ids().count() == 1);
}
