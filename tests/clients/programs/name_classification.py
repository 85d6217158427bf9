"""Which language is a name from?  A plain RNN reads it letter by letter; the last state decides."""

import random

import torch
import torch.nn as nn
import torch.nn.functional as F

LETTERS = "abcdefghijklmnopqrstuvwxyz'"
SYLLABLES = {
    "northern": ["bjor", "sven", "gard", "ulf", "dag", "hal", "thor"],
    "southern": ["ella", "rosso", "vina", "tori", "lucca", "mari", "petro"],
    "eastern": ["yuki", "haru", "tana", "kawa", "moto", "shi", "naka"],
    "desert": ["abd'", "hakim", "zayn", "qas", "rafiq", "umar", "sal"],
}
LANGUAGES = sorted(SYLLABLES)


def random_name(language):
    return "".join(random.choice(SYLLABLES[language]) for _ in range(random.randint(1, 3)))


def one_hot(name):
    tensor = torch.zeros(len(name), 1, len(LETTERS))
    for step, letter in enumerate(name):
        tensor[step][0][LETTERS.index(letter)] = 1
    return tensor


class Classifier(nn.Module):
    def __init__(self, n_hidden):
        super().__init__()
        self.rnn = nn.RNN(len(LETTERS), n_hidden)
        self.out = nn.Linear(n_hidden, len(LANGUAGES))

    def forward(self, name):
        _, hidden = self.rnn(name)
        return F.log_softmax(self.out(hidden[0]), dim=1)


random.seed(20)
torch.manual_seed(20)
model = Classifier(32)
criterion = nn.NLLLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
print(model)

running = 0.0
for update in range(1, 601):
    language = random.choice(LANGUAGES)
    name = random_name(language)
    output = model(one_hot(name))
    loss = criterion(output, torch.tensor([LANGUAGES.index(language)], dtype=torch.long))
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 3.0)
    optimizer.step()
    running += loss.item()
    if update % 50 == 0:
        guess = LANGUAGES[output.topk(1)[1][0].item()]
        verdict = "right" if guess == language else f"wrong, it is {language}"
        print(f"update {update} loss {running / 50:.6g} norm {norm:.6g} {name}: {guess} ({verdict})")
        running = 0.0

confusion = torch.zeros(len(LANGUAGES), len(LANGUAGES))
with torch.no_grad():
    for _ in range(200):
        language = random.choice(LANGUAGES)
        guess = model(one_hot(random_name(language))).argmax(1).item()
        confusion[LANGUAGES.index(language)][guess] += 1
confusion /= confusion.sum(1, keepdim=True)
for language, row in zip(LANGUAGES, confusion, strict=True):
    print(language, " ".join(f"{share:.6g}" for share in row.tolist()))
