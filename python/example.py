"""Example of training from a store: a plain PyTorch ResNet34 for two epochs, then its accuracy on `val`.

    python3 example.py adversarial.db [WIDTH]
"""

import sys

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mithridate import Adversarial, ResNet34


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    path, width = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 16
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train = Adversarial(path, "train", adv_ratio="0.25..0.75")
    loader = DataLoader(train, batch_size=64, shuffle=True)
    model = ResNet34(width, classes=len(train.classes)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for epoch in range(2):
        train.set_epoch(epoch)
        model.train()
        total = 0.0
        for images, labels, _ in loader:
            loss = F.cross_entropy(model(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        print(f"epoch {epoch + 1}: loss {total / max(len(train), 1):.3f}")
    model.eval()
    for ratio, name in (("0", "clean images"), ("1", "adversarial examples")):
        val = Adversarial(path, "val", adv_ratio=ratio)
        correct = 0
        with torch.no_grad():
            for images, labels, _ in DataLoader(val, batch_size=256):
                correct += (model(images.to(device)).argmax(1).cpu() == labels).sum().item()
        print(f"accuracy on {name}: {100 * correct / max(len(val), 1):.2f} % of {len(val)}")


if __name__ == "__main__":
    main()
