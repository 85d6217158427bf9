"""Names of a given kind, invented letter by letter by a hand-made recurrent network."""

import random

import torch
import torch.nn as nn

NAMES = {
    "river": "alder amber brook calder derwent eden esk kennet lea lune medway ouse severn tamar tees thames trent",
    "star": "altair antares bellatrix capella deneb mira polaris regulus rigel sirius spica vega",
}
NAMES = {kind: names.split() for kind, names in NAMES.items()}
KINDS = sorted(NAMES)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
END = len(LETTERS)


class Writer(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        width = len(KINDS) + END + 1 + hidden_size
        self.to_hidden = nn.Linear(width, hidden_size)
        self.to_output = nn.Linear(width, END + 1)
        self.mix = nn.Linear(hidden_size + END + 1, END + 1)
        self.dropout = nn.Dropout(0.1)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, kind, letter, hidden):
        combined = torch.cat((kind, letter, hidden), 1)
        hidden = torch.tanh(self.to_hidden(combined))
        output = self.mix(torch.cat((hidden, self.to_output(combined)), 1))
        return self.softmax(self.dropout(output)), hidden

    def start(self):
        return torch.zeros(1, self.hidden_size)


def kind_tensor(kind):
    tensor = torch.zeros(1, len(KINDS))
    tensor[0][KINDS.index(kind)] = 1
    return tensor


def letter_tensor(letter):
    tensor = torch.zeros(1, END + 1)
    tensor[0][LETTERS.index(letter)] = 1
    return tensor


def train(kind, name):
    targets = torch.LongTensor([LETTERS.index(letter) for letter in name[1:]] + [END])
    targets.unsqueeze_(-1)
    hidden = model.start()
    model.zero_grad()
    loss = torch.Tensor([0])
    for letter, target in zip(name, targets, strict=True):
        output, hidden = model(kind_tensor(kind), letter_tensor(letter), hidden)
        loss += criterion(output, target)
    loss.backward()
    for parameter in model.parameters():
        parameter.data.add_(parameter.grad.data, alpha=-0.01)
    return loss.item() / len(name)


def write(kind, first):
    with torch.no_grad():
        name, hidden = first, model.start()
        for _ in range(12):
            output, hidden = model(kind_tensor(kind), letter_tensor(name[-1]), hidden)
            best = output.topk(1)[1][0][0].item()
            if best == END:
                break
            name += LETTERS[best]
        return name


random.seed(4)
torch.manual_seed(4)
model = Writer(48)
criterion = nn.NLLLoss()
total = 0.0
for update in range(1, 401):
    kind = random.choice(KINDS)
    total += train(kind, random.choice(NAMES[kind]))
    if update % 50 == 0:
        print(f"update {update} loss {total / 50:.6g}")
        total = 0.0

model.eval()
for kind in KINDS:
    print(kind, *(write(kind, first) for first in "aest"))
