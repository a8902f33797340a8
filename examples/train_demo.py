"""Train the demo model on synthetic phantoms alone.

Anatomies are made once and cached.  Each step deforms one subject twice, or two subjects of one
family, gives both a shared random contrast with separate bias, noise and gain, and lowers, in
both directions at once,

    MSE of the clean images / MSE before + soft Dice loss of the labels
    + roughness of the velocity + error against the known displacement (one subject only).

The first part of the time goes to whole brains at 4 mm, which are cheap, the next to crops at
2 mm and the last to whole brains at 2 mm.  The real scans, where present, only give a validation
figure that is printed; no gradient comes from them.
"""

from __future__ import annotations

import argparse
import math
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from demo_net import DemoNet, demo_config, save_checkpoint, warp
from evaluate_demo import RealScans, assets_folder
from training_pairs import CROP, SHAPE, PairSource, TrainingPair, coarsen, load_pool

FIGURES = ("mse0", "mse", "dice", "rough", "known")
HERE = Path(__file__).resolve().parent


def inner(volume: Tensor, rim: int) -> Tensor:
    """Leave out the rim of a volume, where a crop misses what lies outside it."""
    return volume[:, :, rim:-rim, rim:-rim, rim:-rim]


def dice_loss(moved: Tensor, fixed: Tensor) -> Tensor:
    """Return one minus the mean soft Dice over labels, (B, L, X, Y, Z) each."""
    axes = (2, 3, 4)
    overlap, size = (moved * fixed).sum(axes), (moved**2).sum(axes) + (fixed**2).sum(axes)
    return 1 - ((2 * overlap + 2) / (size + 2)).mean()


def roughness(velocity: Tensor) -> Tensor:
    """Return the mean squared difference of neighbouring velocities."""
    return torch.stack([velocity.diff(dim=d).square().mean() for d in (2, 3, 4)]).mean()


class Trainer:
    """Workers that update one set of weights, each from its own pairs.

    A worker copies the weights, computes a gradient with one core and applies it under a lock.
    Unlike one step spread over all cores, this does not stall when another program takes a core.

    Parameters
    ----------
    args : argparse.Namespace
        The command line of `main`.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        torch.manual_seed(args.seed)
        self.net = DemoNet(demo_config(SHAPE))
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=args.lr)
        self.average = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.step, self.spent, self.lock = 0, 0.0, threading.Lock()
        if args.resume and args.resume.exists():
            saved: dict[str, Any] = torch.load(args.resume, weights_only=True)
            self.net.load_state_dict(saved["net"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.average, self.step, self.spent = (saved[k] for k in ("average", "step", "spent"))
        self.begin = time.monotonic() - self.spent
        self.sums = torch.zeros(len(FIGURES))

    def run(self) -> None:
        """Train until the time budget is spent, with a checkpoint every few minutes."""
        args, folder = self.args, assets_folder()
        pool = load_pool(args.cache, args.families, args.subjects)
        small = (coarsen(pool[0]), coarsen(pool[1]))
        scans = RealScans(folder, "percentile:0,99") if folder else None
        torch.set_num_threads(1)
        self.begin = time.monotonic() - self.spent
        workers = []
        for number in range(args.workers):
            seed = [args.seed, number, self.step]
            sources = [PairSource(*p, args.subjects, seed) for p in (small, pool)]
            workers.append(threading.Thread(target=self._work, args=sources))
            workers[-1].start()
        while any(worker.is_alive() for worker in workers):
            workers[0].join(args.every * 60)
            self._checkpoint(scans)
        self._checkpoint(scans)

    def _work(self, coarse: PairSource, fine: PairSource) -> None:
        """Draw pairs and apply their gradients until the budget is spent."""
        net = DemoNet(self.net.config)
        own, shared = list(net.parameters()), list(self.net.parameters())
        while self.spent < self.args.minutes * 60:
            done = self.spent / (self.args.minutes * 60)
            coarse.same = fine.same = 0.4
            if done < self.args.coarse:
                pair = coarse.draw(coarse.fractions.shape[2:])
            else:
                pair = fine.draw(SHAPE if done > self.args.crops else CROP)
            with self.lock, torch.no_grad():
                for mine, theirs in zip(own, shared, strict=True):
                    mine.copy_(theirs)
            loss, figures = self._loss(net, pair)
            gradients = torch.autograd.grad(loss, own)
            with self.lock:
                for parameter, gradient in zip(shared, gradients, strict=True):
                    parameter.grad = gradient
                self._update(figures)

    def _loss(self, net: DemoNet, pair: TrainingPair) -> tuple[Tensor, Tensor]:
        """Return the loss and its figures, in the order of `FIGURES`."""
        observed, clean, shares, truth = pair
        # Both directions at once: their opposite shifts do not pull the weights to and fro.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            velocity = net.velocity(observed, observed.flip(0))
        half = net.integrate(velocity)
        moved, fixed = inner(warp(clean, net.upsample(half)), 4), inner(clean.flip(0), 4)
        moving = inner(clean, 4)
        # The outline of the brain would outweigh all that lies inside, so its part is small.
        weight = 0.1 + 0.9 * ((moving > 0.1) & (fixed > 0.1))
        mse, before = (((image - fixed) ** 2 * weight).mean() for image in (moved, moving))
        dice = dice_loss(inner(warp(shares, half), 2), inner(shares.flip(0), 2))
        rough = roughness(velocity)
        # Relative to the first error, so that strong contrasts do not outweigh the rest.
        loss = mse / (before + 0.002) + self.args.dice * dice + self.args.smooth * rough
        error = torch.zeros(())
        if truth is not None:
            brain = F.max_pool3d(fixed, 2) > 0.1
            error = F.smooth_l1_loss(inner(half, 2) * brain, inner(truth, 2) * brain)
            loss = loss + self.args.known * error
        figures = torch.stack([before, mse, dice, rough, error]).detach()
        return loss, figures

    def _update(self, figures: Tensor) -> None:
        """Apply the gradient in place, average the weights and log; the lock is held."""
        self.spent = time.monotonic() - self.begin
        done = min(self.spent / (self.args.minutes * 60), 1.0)
        warm = min(1.0, (self.step + 1) / 100)
        for group in self.optimiser.param_groups:
            group["lr"] = self.args.lr * warm * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        decay = min(0.995, self.step / (self.step + 10))
        for key, value in self.net.state_dict().items():
            self.average[key].lerp_(value, 1 - decay)
        self.sums += figures
        if self.step % 100 == 0:
            mean = zip(FIGURES, (self.sums / 100).tolist(), strict=True)
            text = " ".join(f"{name} {value:.4f}" for name, value in mean)
            print(f"{self.step} {self.spent:.0f}s {text}", flush=True)
            self.sums.zero_()

    def _checkpoint(self, scans: RealScans | None) -> None:
        """Save the averaged weights as the model, and print a validation figure."""
        with self.lock:
            average = {k: v.clone() for k, v in self.average.items()}
            save_checkpoint(self.args.out, self.net.config, average)
            if self.args.resume:
                state: dict[str, Any] = {
                    "net": self.net.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                }
                state |= {"average": average, "step": self.step, "spent": self.spent}
                torch.save(state, self.args.resume)
        if scans is not None:
            net = DemoNet(self.net.config).eval()
            net.load_state_dict(average)
            r = scans.measure(net, "subject_n", "test_scan")
            keys = ("dice_before", "dice_after", "mse_after", "folding_percent")
            print(f"{self.step} real pair:", {k: round(r[k], 5) for k in keys}, flush=True)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "demo_model.pt")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/demo_pool.npz"))
    parser.add_argument("--resume", type=Path, help="training state to continue and to write")
    parser.add_argument("--minutes", type=float, default=75.0, help="time budget of the run")
    parser.add_argument("--every", type=float, default=4.0, help="minutes between checkpoints")
    parser.add_argument("--coarse", type=float, default=0.3, help="share of time spent at 4 mm")
    parser.add_argument("--crops", type=float, default=0.95, help="share of time before whole")
    parser.add_argument("--families", type=int, default=16)
    parser.add_argument("--subjects", type=int, default=5)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--dice", type=float, default=2.0, help="weight of the Dice loss")
    parser.add_argument("--smooth", type=float, default=1.0, help="weight of the roughness")
    parser.add_argument("--known", type=float, default=1.0, help="weight of known displacements")
    parser.add_argument("--workers", type=int, default=2, help="threads that train")
    parser.add_argument("--seed", type=int, default=0)
    Trainer(parser.parse_args()).run()


if __name__ == "__main__":
    main()
