"""A word-level language model whose output layer is its embedding; then it writes."""

import math
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, BPTT, SIZE = 8, 12, 32


def sentence():
    noun = random.choice(["ship", "captain", "storm", "harbour", "gull"])
    other = random.choice(["sea", "wind", "coast"])
    verb = random.choice(["meets", "fears", "watches"])
    middle = [] if random.random() < 0.5 else ["old"]
    return ["the", *middle, noun, verb, "the", other, "<eos>"]


def corpus(count):
    ids = []
    for _ in range(count):
        for word in sentence():
            ids.append(vocabulary.setdefault(word, len(vocabulary)))
    return torch.tensor(ids).type(torch.int64)


def batchify(ids, columns):
    rows = ids.size(0) // columns
    return ids.narrow(0, 0, rows * columns).view(columns, -1).t().contiguous()


class Model(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.encoder = nn.Embedding(words, SIZE)
        self.rnn = nn.LSTM(SIZE, SIZE, 2, dropout=0.2)
        self.decoder = nn.Linear(SIZE, words)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, ids, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(ids)), hidden)
        decoded = self.decoder(self.drop(output)).view(-1, len(vocabulary))
        return F.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, columns):
        weight = next(self.parameters())
        return weight.new_zeros(2, columns, SIZE), weight.new_zeros(2, columns, SIZE)


def repackage(hidden):
    return hidden.detach() if isinstance(hidden, torch.Tensor) else tuple(repackage(h) for h in hidden)


def batch(source, i):
    steps = min(BPTT, len(source) - 1 - i)
    return source[i : i + steps], source[i + 1 : i + 1 + steps].view(-1)


def evaluate(source):
    model.eval()
    total, hidden = 0.0, model.init_hidden(source.size(1))
    with torch.no_grad():
        for i in range(0, source.size(0) - 1, BPTT):
            ids, targets = batch(source, i)
            output, hidden = model(ids, hidden)
            total += len(ids) * criterion(output, targets).item()
    return total / (len(source) - 1)


random.seed(9)
torch.manual_seed(1111)
vocabulary = {}
train_data, valid_data = batchify(corpus(600), BATCH), batchify(corpus(60), 4)
model = Model(len(vocabulary))
criterion = nn.NLLLoss()
lr, best = 3.0, None
print(f"{len(vocabulary)} words, {sum(p.numel() for p in model.parameters())} parameters")
for epoch in range(1, 8):
    model.train()
    total, count, hidden = 0.0, 0, model.init_hidden(BATCH)
    for i in range(0, train_data.size(0) - 1, BPTT):
        ids, targets = batch(train_data, i)
        model.zero_grad()
        hidden = repackage(hidden)
        output, hidden = model(ids, hidden)
        loss = criterion(output, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-lr)
        total, count = total + loss.item(), count + 1
    valid = evaluate(valid_data)
    print(f"epoch {epoch} lr {lr:.6g} loss {total / count:.6g} valid {valid:.6g} ppl {math.exp(valid):.6g}")
    if best is None or valid < best:
        best = valid
    else:
        lr /= 4.0

words, hidden = list(vocabulary), model.init_hidden(1)
word = torch.randint(len(vocabulary), (1, 1), dtype=torch.long)
with torch.no_grad():
    for _ in range(3):
        line = []
        for _ in range(12):
            output, hidden = model(word, hidden)
            word.fill_(torch.multinomial(output.squeeze().div(0.7).exp(), 1)[0])
            line.append(words[word.item()])
        print(*line)
