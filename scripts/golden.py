"""Golden values from PyTorch: nothing comes in, `shared/tests/golden/*.safetensors` go out.

    python3 -m venv VENV
    VENV/bin/pip install torch==2.11.0 numpy==2.4.6 torchattacks==3.5.1 safetensors==0.8.0
    VENV/bin/python scripts/golden.py            compute all files again (seconds)
    VENV/bin/python scripts/golden.py --check    the same in memory; compare with the files
    ... --train                                  also train the attacked net again (a minute)

One thread, no random seed, no data set: bit for bit the same on one kind of machine. Elsewhere
`--check` accepts what rounding explains and says so.

FORMULA. Value i of the tensor NAME comes from u = random::uniform_at(key, i),
key = random::key(0, "golden/NAME", &[]); computed in f64, rounded once to f32. NAME's last
part decides (i counts row-major):
    cls_token, pos_emb, running_mean    (2u - 1) * 0.1
    bias                                (2u - 1) * 0.2
    running_var                         0.5 + u
    weight, 1 dimension (norms)         0.75 + 0.5 u
    weight, more dimensions             (2u - 1) * sqrt(3 / product of all dimensions but the first)
    anything else (images, map.K, ...)  u

THINNING. Of a tensor of n > 6144 elements, the elements 0, s, 2s, ... of the flattened tensor are
stored, one-dimensional, s = ceil(n / 6144), made odd by adding 1 if even. Inputs are stored whole.

MISS. `miss/NAME`, one f32: the largest distance between NAME computed in f64 and in f32 by
PyTorch, over all elements: how far honest f32 arithmetic may stray. In the resnet and detector
files NAME is the f64 result rounded to f32; in the attacks file it is the f32 result unless noted.

FILES (shared/tests/golden/NAME.safetensors) and their tensors:

resnet_weights        a state dict: ResNet34 of width 4 by FORMULA, num_batches_tracked (i64) too
resnet                images [3,3,32,32] by FORMULA, labels [3] i64
  eval/... train/...  evaluation and training mode:
    logits, map.0 .. map.4 (stem after its ReLU, stages 1 to 4)
    loss              cross entropy, summed over the batch (eval), its mean (train)
    grad/images       gradient of that loss in the pictures
  train/grad/NAME     gradient of the mean loss in the parameter NAME
  train/after/NAME    running_mean and running_var after the one training-mode forward

detector_low_weights  a state dict: detector of width 8, inputs low, 2 layers, by FORMULA
detector_low          evaluation mode (no dropout), batch 2, labels [2] i64; inputs (not
                      stored) map.0 .. map.4 by FORMULA: [2,8,32,32] twice, [2,16,16,16],
                      [2,32,8,8], [2,64,4,4]
  feature, logits, loss (mean cross entropy)
  grad/NAME           gradient of the loss in the parameter NAME
  grad/map.K          ... in each map that is used (low: 1; full: 1 to 4)
  smooth_l1/feature, smooth_l1/target     [2,16], inputs: 3 times the FORMULA, so that distances
                      lie on both sides of beta = 1
  smooth_l1/loss, smooth_l1/grad/feature  the mean; its gradient in smooth_l1/feature
detector_full         the same (no smooth_l1) for inputs full, 1 layer; weights only by FORMULA.
                      A bias that is added to a whole token vanishes in the layer norms, so the
                      gradients of emb_conv_list.{0,1,2,3.1}.bias are 0: compare absolutely

attacks_weights       a state dict: a ResNet34 of width 4 trained on procedural pictures
attacks               images, styles [12,3,32,32] u8 (divide by 255), labels [12] i64; pictures 10
                      and 11 are misclassified (DeepFool and C&W leave them be, steps 0); pixels
                      of 0 and 255 occur
  logits, gradient    clean logits, gradient of the summed cross entropy in the images; both f64
  ATTACK/final        the result; of it, [12] each: l2 (f32, distance to the clean picture),
                      margin (f32, true logit - largest other), success (u8, margin < 0)
  ATTACK/xK           what the attack held after K steps
  ATTACK/gradient     each pixel's smallest |gradient| over the steps (C&W: the first three):
                      where it is at rounding's level, a sign may honestly differ
  ATTACK/steps        [12] i64, steps taken

  ATTACK is                          beyond final, l2, margin, success it has
  fgsm_standard, fgsm_paper          (`gradient` above is theirs)
  bim_standard, bim_paper            gradient
  deepfool_standard, deepfool_paper  x1, x2, x3, steps
  cw_standard                        x1, x2, x3 (in pixels), gradient (in w), steps
  cw_kappa                           steps; no final; cw_standard with confidence 3
  cw_short                           steps; cw_standard with 8 steps: pictures 1, 3, 7, 8 fail
  cw_torchattacks                    no final; torchattacks' own, 100 steps: for distributions
  cw_paper                           x1, x2, x3 (unclipped), gradient
  nst_paper                          x1, x2, x10 (unclipped; final is x10 clipped),
                                     losses [10,12] (before each step)

DeepFool ends on the boundary: where |margin| < 1e-3, success, margin's sign and steps are
rounding's choice; final and l2 are not.
FGSM, BIM and DeepFool are torchattacks' results where it can be asked (all but fgsm_paper and
bim_paper), C&W and NST those of reference/attacks.py, whose docs say exactly what they mean.
"""

import argparse
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

from reference import parts

FOLDER = pathlib.Path(__file__).parent.parent / "shared" / "tests" / "golden"


def compute(train):
    """Every file's tensors; the attacked net is the committed one unless it is to be trained."""
    state = parts.trained_net() if train else load_file(FOLDER / "attacks_weights.safetensors")
    return {
        **parts.resnet(),
        **parts.detector("low"),
        **parts.detector("full"),
        **parts.attacked(state),
    }


def differences(computed, committed):
    """How far one file's tensors are from the committed ones: (lines to print, is it an error)."""
    if computed.keys() != committed.keys():
        return [f"names differ: {sorted(computed.keys() ^ committed.keys())}"], True
    lines, wrong = [], False
    for name, new in computed.items():
        old = committed[name]
        if (new.shape, new.dtype) != (old.shape, old.dtype):
            lines.append(f"{name}: shape or type differs")
            wrong = True
        elif not torch.equal(new, old):
            distance, scale = (new.double() - old.double()).abs(), old.double().abs().max()
            share = (distance > 1e-3 * scale).double().mean().item()
            # A miss is rounding itself; and a few signs and knife-edge stops follow rounding.
            bad = share > 0.02 and not name.startswith("miss/")
            wrong |= bad
            lines.append(
                f"{name}: largest difference {distance.max():.1e} of {scale:.1e}, "
                f"{100 * share:.2f}% beyond 1/1000{'  <- WRONG' if bad else ''}"
            )
    return lines or [f"{len(computed)} tensors, all identical"], wrong


def main():
    parser = argparse.ArgumentParser(description="Golden values from PyTorch.")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("--train", action="store_true", help="train the attacked net again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    failed = False
    for file, tensors in compute(arguments.train).items():
        path = FOLDER / f"{file}.safetensors"
        if arguments.check:
            lines, wrong = differences(tensors, load_file(path))
            failed |= wrong
            print("\n  ".join([f"{file}:", *lines]))
        else:
            save_file({n: t.contiguous() for n, t in tensors.items()}, path, {"format": "pt"})
            print(f"{file}: {len(tensors)} tensors, {path.stat().st_size} bytes")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
