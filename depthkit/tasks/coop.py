# SPDX-License-Identifier: Apache-2.0
"""Depth, camera motion and optical flow trained together; what moves by itself follows from them.

The paper's [Hariat 2023, CoopNet; its abstract is all that is public]: three networks that rebuild
the target, depth and odometry together and flow alone; a model of the distribution of the two
photometric errors, from which pixels where they disagree strongly are taken for moving and teach
depth and odometry nothing; and gradient shared out so that no network starves.

Ours: the law of Delta and its posterior, Delta as a ratio, the gap between rigid flow and flow
[masks by it: Hariat 2026, VLRC] scored beside it (losses/coop.py), a share that moves at least, the
posterior as a weight, a warm-up in which each network learns by itself, and how norms are measured
and balanced (tasks/balance.py). Ours too: a network that learns from single pictures what the
posterior is, so that the evidence of many scenes weighs against the errors of one [a mask
network has Ranjan 2019, CC, too: it learns CC's rule, from five frames]. From others: rigid flow
and flow pulled together where the scene is static [Zou 2018, DF-Net], depth of what moves taught by
the ground it stands on [after Moon 2024], and, for comparison, Competitive Collaboration's rule
[Ranjan 2019].
"""

import torch
from torch import Tensor, distributed

from depthkit.config import CoopConfig, FlowConfig, LossConfig, TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.losses.coop import TEMPER, DeltaModel, cc_static, spread_samples
from depthkit.models.flow_net import PwcFlow, RaftSmall, build_flow_network
from depthkit.models.mask_net import MaskNet
from depthkit.tasks.balance import GradientBalance
from depthkit.tasks.coop_evidence import (
    Answers,
    Evidence,
    compare_rebuilt,
    draw,
    parallax_share,
)
from depthkit.tasks.coop_terms import agreement, appearance, contact, diverged
from depthkit.tasks.flow import (
    FlowPairs,
    find_visible,
    judge_pairs,
    predict_pairs,
    taught_terms,
)
from depthkit.tasks.flow_teacher import Teacher, build_teacher
from depthkit.tasks.output import TaskOutput
from depthkit.tasks.precision import full_precision
from depthkit.tasks.view_synthesis import ViewSynthesis, build_view_synthesis

NETWORKS = ("depth_net", "pose_net", "flow_net")
"""In the order of coop.shares; where motion is known there is no pose_net and its share is void."""


class Coop(ViewSynthesis):
    """The task; its networks are `depth_net`, `pose_net`, `flow_net` and, if any, `mask_net`."""

    steps: Tensor
    """Training steps done; warm-up and occlusion end by it. () int64"""

    def __init__(
        self,
        rigid: ViewSynthesis,
        flow_net: PwcFlow | RaftSmall,
        *,
        loss: LossConfig,
        flow: FlowConfig,
        coop: CoopConfig,
        mask_net: MaskNet | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(
            rigid.depth_net, rigid.pose_net, loss=loss, shifts=rigid.shifts, pairwise=rigid.pairwise
        )
        self.flow_net, self.flow, self.coop = flow_net, flow, coop
        self.mask_net = mask_net
        self.teacher = teacher  # no module: its weights are no part of a checkpoint
        self.delta = DeltaModel(momentum=coop.momentum, least_share=coop.least_share)
        self.gap = DeltaModel(momentum=coop.momentum, least_share=coop.least_share)
        shares = {
            name: share
            for name, share in zip(NETWORKS, coop.shares, strict=True)
            if getattr(self, name) is not None
        }
        self.balance = GradientBalance(
            {name: getattr(self, name) for name in shares},
            shares=tuple(shares.values()) if coop.balance == "gradient" else None,
        )
        # Of the mask network, which shares no loss with the others, for the name of what diverges.
        self.watch: GradientBalance | None = None
        if mask_net is not None:
            self.watch = GradientBalance({"mask_net": mask_net}, persistent=False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Rebuild the target by depth and motion, and by flow, and let each teach its networks."""
        if self.training:
            self.balance.begin_step()
            if self.watch is not None:
                self.watch.begin_step()
        answers = self._answer(snippet)
        source_depths = self._source_depths(snippet)
        with full_precision(snippet.target.device):
            evidence = self.compare(snippet, answers)
            if self.training:
                self._learn_law(evidence)
            static = self._static(evidence, answers.static_odds)
            taught = self._mask(static)
            # Depth and motion learn where the scene is static, flow wherever the pixel is seen.
            rigid = self._judge_scales(
                snippet,
                answers.inverse_depths,
                answers.T_source_target,
                answers.explainability,
                source_depths,
                taught,
                draws=draws,
            )
            visible = self._visible(answers.pairs)
            terms = self._judge_flow(answers.pairs, visible, taught)
            terms |= self._own_terms(snippet, answers, evidence, taught)
            loss = rigid.loss + torch.stack(list(terms.values())).sum()
            figures = self._figures(snippet, answers, evidence, static, visible)
            pictures = draw(answers, evidence, static, visible) if draws else {}
            if self.training:
                self.steps += 1
        logged = {f"loss/{name}": value.detach() for name, value in terms.items()}
        return TaskOutput(
            loss,
            rigid.judged,
            rigid.terms | logged | figures | diverged(answers),
            rigid.prediction,
            rigid.images | pictures,
            values={
                name: torch.where(evidence.difference.known, each, torch.nan)
                for name, each in (("delta", evidence.difference.delta), ("gap", evidence.score))
            },
            flow=rigid.flow,
        )

    def static_probability(self, snippet: Snippet) -> Tensor:
        """Tell how likely each pixel of the targets belongs to the static scene.

        Returns:
            In [0, 1]; with the CC mask, its label made graded. (B, 1, H, W)
        """
        with torch.no_grad():
            answers = self._answer(snippet)
            with full_precision(snippet.target.device):
                return self._static(self.compare(snippet, answers), answers.static_odds)

    @property
    def temper(self) -> float | None:
        """Factor of the evidence beside a mask network; None without one."""
        return None if self.mask_net is None else TEMPER

    # --- what the networks predict ----------------------------------------------------------------

    def _answer(self, snippet: Snippet) -> Answers:
        scale = self.balance.scale
        inverse_depths = self.find_depths(snippet)
        T_source_target, explainability = self.find_motions(snippet)
        if self.motion is None:
            T_source_target = scale("pose_net", T_source_target)
        pairs = predict_pairs(self.flow_net, snippet)
        return Answers(
            [scale("depth_net", each) for each in inverse_depths],
            T_source_target,
            explainability and [scale("pose_net", each) for each in explainability],
            pairs._replace(flows=[scale("flow_net", each) for each in pairs.flows]),
            None if self.mask_net is None else self.mask_net(snippet.target),
        )

    def _source_depths(self, snippet: Snippet) -> Tensor | None:
        depths = super()._source_depths(snippet)
        return depths if depths is None else self.balance.scale("depth_net", depths)

    def compare(self, snippet: Snippet, answers: Answers) -> Evidence:
        """Set both reconstructions side by side, without gradient."""
        return compare_rebuilt(
            snippet,
            answers,
            ssim_weight=self.loss.ssim_weight,
            window=self.coop.window,
            ratio=self.coop.delta == "ratio",
        )

    # --- what moves -------------------------------------------------------------------------------

    def _learn_law(self, evidence: Evidence) -> None:
        """Move the laws of Delta and of the gap on, by the pixels of all processes.

        Warm-up ends with new ones: those of networks that had only begun would last for long.
        """
        # Warm-up is over: the law of networks that had only begun is dropped.
        if self.steps == self.coop.warmup_steps:
            self.delta.forget()
            self.gap.forget()
        known = evidence.difference.known
        maps = (evidence.difference.delta, evidence.score)
        samples = torch.stack([spread_samples(each, known) for each in maps], 1)  # (N, 2)
        if distributed.is_available() and distributed.is_initialized():
            parts = [torch.empty_like(samples) for _ in range(distributed.get_world_size())]
            distributed.all_gather(parts, samples)
            samples = torch.cat(parts)
        self.delta.update(samples[:, 0])
        self.gap.update(samples[:, 1])

    def _static(self, evidence: Evidence, learnt: Tensor | None) -> Tensor:
        """Return the static probability by the configured rule, without gradient. (B, 1, H, W)

        Args:
            evidence: both reconstructions of the target.
            learnt: log odds of static by the mask network; None for the evidence alone.
                (B, 1, H, W)
        """
        if self.coop.mask == "cc":
            return cc_static(
                evidence.difference.rigid,
                evidence.difference.flow,
                evidence.gap,
                rigid_weight=self.coop.cc_rigid_weight,
                agreement=self.coop.cc_agreement,
            )
        delta, score = evidence.difference.delta, evidence.score
        if learnt is not None:
            # Log odds add up: the mask network is the prior, the frames are the tempered evidence.
            return (TEMPER * self._likelihood(delta, score) + learnt.detach()).sigmoid()
        match self.coop.evidence:
            case "gap":
                return self.gap.posterior(score)
            case "both":
                # Two likelihood ratios as if independent, the prior share of moving pixels once.
                share = self.gap.current().share
                return (self._likelihood(delta, score) + ((1 - share) / share).log()).sigmoid()
        return self.delta.posterior(delta)

    def _likelihood(self, delta: Tensor, score: Tensor) -> Tensor:
        """Return the log likelihood ratio of static against moving. (B, 1, H, W)"""
        match self.coop.evidence:
            case "gap":
                return self.gap.evidence(score)
            case "both":
                return self.delta.evidence(delta) + self.gap.evidence(score)
        return self.delta.evidence(delta)

    def _mask(self, static: Tensor) -> Tensor:
        """Return the weight of each pixel for depth and motion. (B, 1, H, W)"""
        if self.coop.mask == "none" or self._warming():
            return torch.ones_like(static)
        return static if self.coop.mask == "posterior" else static.ge(0.5).float()

    def _warming(self) -> bool:
        """Tell whether each network still learns by itself: their difference tells nothing yet."""
        return self.training and bool(self.steps < self.coop.warmup_steps)

    # --- what the networks learn from -------------------------------------------------------------

    def _visible(self, pairs: FlowPairs) -> Tensor:
        """Find the pixels that teach flow colours: all, until flow is good enough to judge."""
        if self.training and self.steps < self.flow.occlusion_from:
            return pairs.valid
        return pairs.valid & find_visible(pairs.flows[0], self.flow.occlusion)

    def _judge_flow(self, pairs: FlowPairs, visible: Tensor, static: Tensor) -> dict[str, Tensor]:
        """Return flow's own terms; it sees all that is not hidden, static pixels as weighted."""
        weights = visible.float()
        if self.coop.static_flow_weight != 1:
            # The mask is of the target's pixels: only the pairs that begin there are weighed.
            moving = 1 - static + self.coop.static_flow_weight * static
            targets = weights.chunk(2)[0] * moving.repeat(len(self.shifts), 1, 1, 1)
            weights = torch.cat([targets, weights.chunk(2)[1]])
        terms = judge_pairs(pairs, weights, flow=self.flow, ssim_weight=self.loss.ssim_weight)
        if self.training:
            terms |= taught_terms(pairs, self.teacher, flow=self.flow, steps=int(self.steps))
        return {f"flow_{name}": self.coop.flow_weight * value for name, value in terms.items()}

    def _own_terms(
        self, snippet: Snippet, answers: Answers, evidence: Evidence, static: Tensor
    ) -> dict[str, Tensor]:
        """Return the terms of coop_terms.py that are configured; in warm-up they teach nothing.

        Ground contact because `static` is 1 everywhere then.
        """
        coop, warming = self.coop, self._warming()
        terms = {}
        if not warming:
            terms = agreement(
                snippet,
                answers,
                evidence,
                static,
                to_flow=coop.rigid_teaches_flow,
                to_rigid=coop.flow_teaches_rigid,
            )
        terms |= contact(answers, evidence, static, weight=coop.contact_weight)
        if answers.static_odds is not None:
            # The posterior by the evidence alone, never the mask network's own opinion; in warm-up
            # by nothing, yet its weights get a gradient of 0: processes wait for one.
            wanted, weight = self._static(evidence, None), 0.0 if warming else coop.mask_weight
            known = evidence.difference.known
            terms |= appearance(answers.static_odds, wanted, known, weight=weight)
        return terms

    # --- what is logged ---------------------------------------------------------------------------

    @torch.no_grad()
    def _figures(
        self,
        snippet: Snippet,
        answers: Answers,
        evidence: Evidence,
        static: Tensor,
        visible: Tensor,
    ) -> dict[str, Tensor]:
        laws = {"delta": self.delta.current(), "gap": self.gap.current()}
        known = evidence.difference.known
        return {
            **{
                f"{kind}/{name}": value.clone()
                for kind, law in laws.items()
                for name, value in law._asdict().items()
            },
            "health/static": (static * known).sum() / known.sum().clamp(min=1),
            "health/parallax": parallax_share(snippet, answers),
            "health/visible": visible.float().mean(),
            "health/flow": answers.pairs.flows[0][..., ::4, ::4].norm(dim=1).mean(),
            **(self.balance.terms() if self.training else {}),
            **self._watched(),
        }

    def _watched(self) -> dict[str, Tensor]:
        if self.watch is None or not self.training:
            return {}
        return {"gradient/mask_net": self.watch.measured[0]}


def build_coop(config: TrainConfig, shifts: tuple[int, ...]) -> Coop:
    """Make the task; depth and motion begin with the weights view_synthesis has of that seed."""
    model = config.model
    rigid = build_view_synthesis(model, config.loss, shifts)
    flow_net = build_flow_network(model.flow, width=model.flow_width, weights=model.flow_weights)
    return Coop(
        rigid,
        flow_net,
        loss=config.loss,
        flow=config.flow,
        coop=config.coop,
        mask_net=MaskNet() if config.coop.mask_weight > 0 else None,
        teacher=build_teacher(config.flow.teacher, file=config.flow.teacher_file),
    )
