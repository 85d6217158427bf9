"""A GRU reads a row of digits, another with attention says it backwards, in words."""

import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

WORDS = ["<start>", "<end>", "nought", "one", "two", "three", "four", "five"]
START, END, FIRST, LENGTH, HIDDEN = 0, 1, 2, 5, 32


def pairs(count):
    sources, targets = torch.zeros(count, LENGTH + 1).long(), torch.zeros(count, LENGTH + 1).long()
    for row in range(count):
        digits = [random.randrange(6) + FIRST for _ in range(LENGTH)]
        sources[row] = torch.LongTensor([*digits, END])
        targets[row] = torch.LongTensor([*digits[::-1], END])
    return sources, targets


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), HIDDEN)
        self.gru = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.dropout = nn.Dropout(0.1)

    def forward(self, source):
        return self.gru(self.dropout(self.embedding(source)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.Wa = nn.Linear(HIDDEN, HIDDEN)
        self.Ua = nn.Linear(HIDDEN, HIDDEN)
        self.Va = nn.Linear(HIDDEN, 1)

    def forward(self, query, keys):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys))).squeeze(2).unsqueeze(1)
        weights = F.softmax(scores, dim=-1)
        return torch.bmm(weights, keys), weights


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), HIDDEN)
        self.attention = Attention()
        self.gru = nn.GRU(2 * HIDDEN, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, len(WORDS))

    def forward(self, memory, hidden, target=None):
        word = torch.empty(memory.size(0), 1, dtype=torch.long).fill_(START)
        outputs, looks = [], []
        for step in range(LENGTH + 1):
            context, weights = self.attention(hidden.permute(1, 0, 2), memory)
            output, hidden = self.gru(torch.cat((self.embedding(word), context), dim=2), hidden)
            outputs.append(self.out(output))
            looks.append(weights)
            word = target[:, step].unsqueeze(1) if target is not None else outputs[-1].topk(1)[1].squeeze(-1).detach()
        return F.log_softmax(torch.cat(outputs, dim=1), dim=-1), torch.cat(looks, dim=1)


random.seed(7)
torch.manual_seed(7)
data = TensorDataset(*pairs(320))
loader = DataLoader(data, sampler=RandomSampler(data), batch_size=16)
encoder, decoder = Encoder(), Decoder()
optimizers = [optim.Adam(part.parameters(), lr=0.004) for part in (encoder, decoder)]
criterion = nn.NLLLoss()

for epoch in range(1, 11):
    total = 0.0
    for source, target in loader:
        for optimizer in optimizers:
            optimizer.zero_grad()
        memory, hidden = encoder(source)
        output, _ = decoder(memory, hidden, target)
        loss = criterion(output.view(-1, output.size(-1)), target.view(-1))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        total += loss.item()
    print(f"epoch {epoch} loss {total / len(loader):.6g}")

encoder.eval()
decoder.eval()
with torch.no_grad():
    source, target = pairs(40)
    output, looks = decoder(*encoder(source))
    said = output.argmax(-1)
    print(f"words right {(said == target).float().mean().item():.6g}")
    for row in range(3):
        print("".join(str(d - FIRST) for d in source[row][:-1].tolist()), *(WORDS[w] for w in said[row].tolist()))
    for look in looks[0]:
        print(" ".join(f"{share:.4f}" for share in look.tolist()))
