"""Detector of adversarial inputs: a Transformer encoder over the feature maps of a ResNet34, with two
logits (clean, adversarial).

Tensor names are those of the paper's code; the code is our own.
"""

import torch
from torch import nn
from torch.nn import functional as F

EPS = 1e-6  # of every layer norm


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5).softmax(-1)
        out = (weights @ v).transpose(1, 2).reshape(b, n, d)
        return F.dropout(self.proj(out), self.dropout, self.training)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim, dropout):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(4 * dim, dim), nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


class Layer(nn.Module):
    """A Transformer encoder layer with pre-normalization."""

    def __init__(self, dim, heads, dropout):
        super().__init__()
        self.norm_1 = nn.LayerNorm(dim, EPS)
        self.att = Attention(dim, heads, dropout)
        self.norm_2 = nn.LayerNorm(dim, EPS)
        self.ffn = FeedForward(dim, dropout)

    def forward(self, x):
        x = x + self.att(self.norm_1(x))
        return x + self.ffn(self.norm_2(x))


class Detector(nn.Module):
    """`inputs` is "full" (stages 1 to 4; a token per channel) or "low" (stage 1; a token per position)."""

    def __init__(self, inputs, width=64, layers=2, heads=4, dropout=0.1):
        super().__init__()
        w, self.inputs = width, inputs
        self.emb_conv_list = nn.ModuleList([nn.Conv2d(w, 2 * w, 3, 2, 1)])
        tokens, dim = 256, 2 * w
        if inputs == "full":
            tokens, dim = 8 * w, 256
            self.emb_conv_list += [
                nn.Conv2d(2 * w, 2 * w, 1),
                nn.ConvTranspose2d(4 * w, 2 * w, 2, 2),
                nn.Sequential(
                    nn.ConvTranspose2d(8 * w, 4 * w, 2, 2), nn.ConvTranspose2d(4 * w, 2 * w, 2, 2)
                ),
            ]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_emb = nn.Parameter(torch.zeros(1, tokens + 1, dim))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList([Layer(dim, heads, dropout) for _ in range(layers)])
        self.final_norm = nn.LayerNorm(dim, EPS)
        self.cls_fc = nn.Linear(dim, 2)

    def forward(self, maps):
        """The feature `[B,dim]` (the normalized class token) and the logits `[B,2]` of five feature maps, the
        stem's first."""
        embedded = [conv(m) for conv, m in zip(self.emb_conv_list, maps[1:])]
        tokens = torch.cat(embedded, 1).flatten(2)
        if self.inputs == "low":
            tokens = tokens.transpose(1, 2)
        cls_token = self.cls_token.expand(len(tokens), -1, -1)
        x = self.dropout(torch.cat([cls_token, tokens], 1) + self.pos_emb)
        for layer in self.layers:
            x = layer(x)
        feature = self.final_norm(x)[:, 0]
        return feature, self.cls_fc(feature)
