"""Words letter by letter, with recurrent cells made of linear layers: a plain one and a gated one."""

import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torch.utils.data.dataloader import DataLoader

WORDS = """
anchor barrel basket beacon bellows bottle bridle bucket button candle carpet casket cellar chisel copper cradle
dagger feather ferry fiddle flagon gallery gander garden garnet goblet hammer hamper harness hatchet kettle ladder
lantern larder locker mantle marble mirror mortar napkin needle oyster paddle parlour pepper pillow pocket rafter
ribbon saddle sandal satchel shutter sickle tackle tallow tankard tavern temple thimble timber trellis trumpet walnut
""".split()


class Words(Dataset):
    def __init__(self, words):
        self.words = words
        self.letters = sorted(set("".join(words)))
        self.stoi = {letter: i + 1 for i, letter in enumerate(self.letters)}
        self.length = max(map(len, words))

    def __len__(self):
        return len(self.words)

    def __getitem__(self, idx):
        ix = torch.tensor([self.stoi[letter] for letter in self.words[idx]], dtype=torch.long)
        x = torch.zeros(self.length + 1, dtype=torch.long)
        y = torch.zeros(self.length + 1, dtype=torch.long)
        x[1 : 1 + len(ix)] = ix
        y[: len(ix)] = ix
        y[len(ix) + 1 :] = -1
        return x, y


class RNNCell(nn.Module):
    def __init__(self, n_in, n_state):
        super().__init__()
        self.xh_to_h = nn.Linear(n_in + n_state, n_state)

    def forward(self, xt, hprev):
        return torch.tanh(self.xh_to_h(torch.cat([xt, hprev], dim=1)))


class GRUCell(nn.Module):
    def __init__(self, n_in, n_state):
        super().__init__()
        self.xh_to_z = nn.Linear(n_in + n_state, n_state)
        self.xh_to_r = nn.Linear(n_in + n_state, n_state)
        self.xh_to_hbar = nn.Linear(n_in + n_state, n_state)

    def forward(self, xt, hprev):
        xh = torch.cat([xt, hprev], dim=1)
        r = torch.sigmoid(self.xh_to_r(xh))
        hbar = torch.tanh(self.xh_to_hbar(torch.cat([xt, r * hprev], dim=1)))
        z = torch.sigmoid(self.xh_to_z(xh))
        return (1 - z) * hprev + z * hbar


class Model(nn.Module):
    def __init__(self, cell, symbols, n_embd=16, n_state=32):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, n_state))
        self.wte = nn.Embedding(symbols, n_embd)
        self.cell = cell(n_embd, n_state)
        self.lm_head = nn.Linear(n_state, symbols)

    def forward(self, idx, targets=None):
        b, t = idx.size()
        emb = self.wte(idx)
        hprev = self.start.expand((b, -1))
        hiddens = []
        for i in range(t):
            hprev = self.cell(emb[:, i, :], hprev)
            hiddens.append(hprev)
        logits = self.lm_head(torch.stack(hiddens, 1))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        return logits, loss


@torch.no_grad()
def sample(model, count, steps):
    idx = torch.zeros(count, 1, dtype=torch.long)
    for _ in range(steps):
        logits, _ = model(idx)
        logits = logits[:, -1, :] / 0.8
        v, _ = torch.topk(logits, 8)
        logits[logits < v[:, [-1]]] = -float("Inf")
        idx = torch.cat((idx, torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)), dim=1)
    return idx[:, 1:]


@torch.inference_mode()
def evaluate(model, dataset):
    model.eval()
    losses = [model(X, Y)[1].item() for X, Y in DataLoader(dataset, shuffle=True, batch_size=8)]
    model.train()
    return torch.tensor(losses).mean().item()


torch.manual_seed(3407)
order = torch.randperm(len(WORDS)).tolist()
train_set, test_set = Words([WORDS[i] for i in order[:-8]]), Words(WORDS)
test_set.words = [WORDS[i] for i in order[-8:]]
for cell in (RNNCell, GRUCell):
    model = Model(cell, len(test_set.letters) + 1)
    print(cell.__name__, sum(p.numel() for p in model.parameters()), "parameters")
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
    sampler = torch.utils.data.RandomSampler(train_set, replacement=True, num_samples=int(1e6))
    batches = iter(DataLoader(train_set, sampler=sampler, batch_size=16))
    for step in range(301):
        X, Y = next(batches)
        logits, loss = model(X, Y)
        model.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 30 == 0:
            print(f"step {step} loss {loss.item():.6g}")
    print(f"train {evaluate(model, train_set):.6g} test {evaluate(model, test_set):.6g}")
    for row in sample(model, 6, test_set.length).tolist():
        letters = row[: row.index(0)] if 0 in row else row
        print("".join(test_set.letters[i - 1] for i in letters))
