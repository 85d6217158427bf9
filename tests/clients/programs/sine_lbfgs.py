"""Two LSTM cells learn sine waves with LBFGS, in double precision, and go on by themselves."""

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim

HIDDEN = 10


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm1 = nn.LSTMCell(1, HIDDEN)
        self.lstm2 = nn.LSTMCell(HIDDEN, HIDDEN)
        self.linear = nn.Linear(HIDDEN, 1)

    def forward(self, input, future=0):
        outputs = []
        h_t, c_t, h_t2, c_t2 = (torch.zeros(input.size(0), HIDDEN, dtype=torch.double) for _ in range(4))
        for input_t in input.split(1, dim=1):
            h_t, c_t = self.lstm1(input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        for _ in range(future):
            h_t, c_t = self.lstm1(output, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        return torch.cat(outputs, dim=1)


np.random.seed(2)
torch.manual_seed(0)
phase = np.random.randint(-40, 40, (6, 1))
waves = np.sin((np.arange(40)[None] + phase) / 5.0).astype("float64")
input, target = torch.from_numpy(waves[2:, :-1]), torch.from_numpy(waves[2:, 1:])
test_input, test_target = torch.from_numpy(waves[:2, :-1]), torch.from_numpy(waves[:2, 1:])
model = Sequence()
model.double()
criterion = nn.MSELoss()
optimizer = optim.LBFGS(model.parameters(), lr=0.8)
evaluations, losses = 0, []

for step in range(4):
    losses.clear()

    def closure():
        global evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = criterion(model(input), target)
        losses.append(loss.item())
        loss.backward()
        return loss

    optimizer.step(closure)
    print(f"step {step} loss {losses[0]:.6g} to {losses[-1]:.6g}")
    with torch.no_grad():
        predicted = model(test_input, future=10)
        loss = criterion(predicted[:, :-10], test_target)
        print(f"test loss {loss.item():.6g}, then", " ".join(f"{y:.6g}" for y in predicted[0, -10:].tolist()))
print(f"{evaluations} evaluations")
