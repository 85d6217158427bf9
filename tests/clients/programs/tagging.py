"""Parts of speech: an LSTM reads a sentence and tags each word; a second, over letters, helps with new words."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

SENTENCES = """
the/DET small/ADJ cat/NOUN chases/VERB a/DET grey/ADJ mouse/NOUN
a/DET mouse/NOUN eats/VERB the/DET cheese/NOUN quickly/ADV
everybody/NOUN slowly/ADV reads/VERB that/DET long/ADJ book/NOUN
the/DET long/ADJ train/NOUN leaves/VERB
a/DET grey/ADJ train/NOUN quickly/ADV leaves/VERB the/DET station/NOUN
that/DET cat/NOUN sleeps/VERB
"""
data = [[word.split("/") for word in line.split()] for line in SENTENCES.strip().splitlines()]
word_to_ix, tag_to_ix, letter_to_ix = {}, {}, {}
for sentence in data:
    for word, tag in sentence:
        word_to_ix.setdefault(word, len(word_to_ix))
        tag_to_ix.setdefault(tag, len(tag_to_ix))
        for letter in word:
            letter_to_ix.setdefault(letter, len(letter_to_ix))
TAGS = list(tag_to_ix)


def prepare(items, table):
    return torch.tensor([table[item] for item in items], dtype=torch.long)


class Tagger(nn.Module):
    def __init__(self, word_size, letter_size, hidden_size):
        super().__init__()
        self.words = nn.Embedding(len(word_to_ix), word_size)
        self.letters = nn.Embedding(len(letter_to_ix), letter_size)
        self.speller = nn.LSTM(letter_size, letter_size)
        self.lstm = nn.LSTM(word_size + letter_size, hidden_size)
        self.hidden2tag = nn.Linear(hidden_size, len(tag_to_ix))

    def forward(self, sentence):
        spelt = []
        for word in sentence:
            letters = self.letters(prepare(word, letter_to_ix))
            _, (h_n, _) = self.speller(letters.view(len(word), 1, -1))
            spelt.append(h_n.view(1, -1))
        embeds = torch.cat((self.words(prepare(sentence, word_to_ix)), torch.cat(spelt)), dim=1)
        out, _ = self.lstm(embeds.view(len(sentence), 1, -1))
        return F.log_softmax(self.hidden2tag(out.view(len(sentence), -1)), dim=1)


torch.manual_seed(1)
model = Tagger(6, 4, 8)
loss_function = nn.NLLLoss()
optimizer = optim.SGD(model.parameters(), lr=0.1)
with torch.no_grad():
    print(model([word for word, _ in data[0]]))

for epoch in range(1, 41):
    total = 0.0
    for sentence in data:
        model.zero_grad()
        scores = model([word for word, _ in sentence])
        loss = loss_function(scores, prepare([tag for _, tag in sentence], tag_to_ix))
        loss.backward()
        optimizer.step()
        total += loss.item()
    if epoch % 5 == 0:
        print(f"epoch {epoch} loss {total / len(data):.6g}")

with torch.no_grad():
    for sentence in data:
        scores = model([word for word, _ in sentence])
        print(" ".join(f"{word}/{TAGS[i]}" for (word, _), i in zip(sentence, scores.argmax(1).tolist(), strict=True)))
    print(scores)
