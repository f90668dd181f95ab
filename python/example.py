"""Trains a plain PyTorch ResNet34 for two epochs on somebody's store, and measures it on `val`.

    python3 example.py adversarial.db [WIDTH]
"""

import sys

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mithridate import Adversarial, ResNet34


def main():
    path, width = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 16
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train = Adversarial(path, "train", adv_ratio="0.25..0.75")
    net = ResNet34(width).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for epoch in range(2):
        train.set_epoch(epoch)
        net.train()
        total = 0.0
        for images, labels, _ in DataLoader(train, batch_size=64, shuffle=True):
            loss = F.cross_entropy(net(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        print(f"epoch {epoch + 1}: loss {total / len(train):.3f}")
    net.eval()
    for ratio, name in (("0", "clean"), ("1", "attacked")):
        val = Adversarial(path, "val", adv_ratio=ratio)
        right = 0
        with torch.no_grad():
            for images, labels, _ in DataLoader(val, batch_size=256):
                right += (net(images.to(device)).argmax(1).cpu() == labels).sum().item()
        print(f"{name}: {100 * right / max(len(val), 1):.2f} % of {len(val)}")


if __name__ == "__main__":
    main()
