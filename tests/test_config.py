"""Parameters: what is wrong is named, and what decides a result decides the fingerprint."""

import json

import pytest

from mmvs import config


def test_unknown_key_is_refused_with_the_nearest_right_name():
    with pytest.raises(
        config.ConfigError, match="unknown parameter 'stpes' of Training: did you mean 'steps'"
    ):
        config.experiment(training={"stpes": 3})
    with pytest.raises(config.ConfigError, match="unknown parameter 'zzz' of Experiment: known: run, seed"):
        config.experiment(zzz=1)


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"training": {"steps": "many"}}, "training.steps"),
        ({"training": {"steps": 0}}, "training.steps"),
        ({"model": {"motion_backbone": {"input": "uvw"}}}, "model.motion_backbone.input"),
        ({"run": "../elsewhere"}, "run"),
        ({"run": "/absolute"}, "run"),
    ],
)
def test_ill_typed_values_are_named(parts, named):
    with pytest.raises(config.ConfigError, match=named):
        config.experiment(**parts)


def test_load_names_file_and_key(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("run: mine\nmodell: {}\n")
    with pytest.raises(config.ConfigError, match=r"mine\.yaml.*\n.*did you mean 'model'"):
        config.load(file)
    file.write_text("a: [")
    with pytest.raises(config.ConfigError, match="not YAML"):
        config.load(file)
    file.write_text("- a")
    with pytest.raises(config.ConfigError, match="found list"):
        config.load(file)
    with pytest.raises(config.ConfigError, match=r"other\.yaml: no such params file; there are: mine\.yaml"):
        config.load(tmp_path / "other.yaml")


def test_rungs_change_one_switch_at_a_time():
    counts = [sum(switches.values()) for switches in config.LADDER.values()]
    assert counts == [0, 1, 2, 3, 4]
    base = config.experiment(run="x")
    assert base.on_rung("B+M+T+L+A", 0) is base
    cell = base.on_rung("B+M", 2)
    assert (cell.run, cell.seed, cell.model.motion, cell.model.transformer) == (
        "x/ladder/B+M/2",
        2,
        True,
        False,
    )
    with pytest.raises(config.ConfigError, match="unknown rung 'B\\+X'"):
        base.on_rung("B+X", 0)


def test_the_top_of_the_ladder_with_another_seed_is_the_system_with_all_inputs():
    base = config.experiment(run="x", training={"steps": 700})
    assert base.on_rung("B+M+T+L+A", 2) == base.as_system("video+flow", 700, 1.0, 2)
    blind = config.experiment(run="x", model={"appearance": "target"})
    assert blind.on_rung("B+M+T+L+A", 2).run == "x/ladder/B+M+T+L+A/2", "that system sees more"


def test_a_published_network_shrinks_nothing():
    with pytest.raises(config.ConfigError, match="shrink is of the multimodal network"):
        config.experiment(model={"name": "published", "motion_backbone": {"shrink": 2}})


def test_switches_that_came_later_change_the_fingerprint_only_where_they_are_set():
    base = config.experiment().fingerprint()
    assert config.experiment(model={"motion_backbone": {"shrink": 1}}).fingerprint() == base
    assert config.experiment(model={"fusion": {"convolution": "full"}}).fingerprint() == base
    assert config.experiment(training={"shared_norms": True}).fingerprint() != base
    assert config.experiment(data={"targets": "all"}).fingerprint() != base
    assert config.experiment(model={"motion_backbone": {"shrink": 2}}).fingerprint() != base
    assert config.experiment(model={"fusion": {"convolution": "separable"}}).fingerprint() != base


def test_fingerprint_follows_what_decides_the_weights_and_nothing_else():
    base = config.experiment()
    same = config.experiment(run="renamed", data={"workers": 1}, evaluation={"threshold": 0.4})
    assert same.fingerprint() == base.fingerprint()
    for parts in (
        {"seed": 1},
        {"model": {"motion": False}},
        {"data": {"stride": 2}},
        {"loss": {"coarse": 0}},
    ):
        assert config.experiment(**parts).fingerprint() != base.fingerprint()
    heavy, without = {"cross_modal": 9}, {"alignment": False}  # a weight of a term that is switched off
    assert config.experiment(loss=heavy).fingerprint() != base.fingerprint()
    assert (
        config.experiment(model=without, loss=heavy).fingerprint()
        == config.experiment(model=without).fingerprint()
    )


def test_a_parameter_that_was_added_later_changes_no_older_fingerprint():
    """Where these digits change, every run that was made before is trained anew."""
    as_before = {name: {"freeze": "none"} for name in ("appearance_backbone", "motion_backbone")}
    assert config.experiment(model=as_before).fingerprint() == "606fd33f0fce"
    assert config.experiment().fingerprint() == "9a00e7b5fbe5"  # pretrained normalisation is frozen since
    for parts in (
        {"model": {"name": "published"}},
        {"data": {"gap": 5}},
    ):
        assert config.experiment(**parts).fingerprint() != "606fd33f0fce"
    published = {"name": "published"}
    assert config.experiment(model=published).fingerprint() == "8ab5ed95593a"
    assert config.experiment(model=published, loss={"limit": 0.9}).fingerprint() == "1db290117dfc"
    gate = published | {"quirks": {"gate": True}}
    assert config.experiment(model=gate).fingerprint() == "e3ec420b45ef"


def test_freezing_and_layer_decay_change_the_fingerprint_only_where_they_change_the_training():
    base = config.experiment().fingerprint()
    norm = {"appearance_backbone": {"freeze": "norm"}}  # which is the default of pretrained backbones
    assert config.experiment(model=norm).fingerprint() == base
    random = {"appearance_backbone": {"weights": None}}
    of_random = config.experiment(model=random).fingerprint()
    random = {"appearance_backbone": {"weights": None, "freeze": "none"}}
    assert config.experiment(model=random).fingerprint() == of_random
    for parts in (
        {"model": {"appearance_backbone": {"freeze": "none"}}},
        {"model": {"motion_backbone": {"freeze": "stem"}}},
        {"model": {"appearance_backbone": {"weights": None, "freeze": "norm"}}},
        {"model": {"language": {"freeze": "all"}}},
        {"training": {"layer_decay": 0.9}},
    ):
        assert config.experiment(**parts).fingerprint() not in (base, of_random), parts
    published = {"name": "published", "motion_backbone": {"freeze": "none"}}
    assert config.experiment(model=published).fingerprint() == "8ab5ed95593a"
    published = {"name": "published", "motion_backbone": {"freeze": "norm"}}
    assert config.experiment(model=published).fingerprint() != "8ab5ed95593a"


def test_the_published_network_freezes_nothing_and_takes_resnets_alone():
    model = config.experiment(model={"name": "published"}).model
    assert model.appearance_backbone.frozen == model.motion_backbone.frozen == "none"
    for name in ("timm:resnet18", "hf:microsoft/resnet-18"):
        with pytest.raises(
            config.ConfigError, match=f"backbone '{name}': the published network dilates ResNets"
        ):
            config.experiment(model={"name": "published", "motion_backbone": {"name": name}})


def test_a_network_refuses_what_only_the_other_reads():
    for parts, named in (
        ({"model": {"quirks": {"gate": True}}}, "unknown parameter 'quirks' of Multimodal"),
        ({"loss": {"limit": 0.9}}, "unknown parameter 'limit' of Loss"),
        (
            {"model": {"name": "published"}, "loss": {"coarse": 1}},
            "unknown parameter 'coarse' of PublishedLoss",
        ),
        ({"model": {"name": "publishd"}}, "no network 'publishd', there are: multimodal, published"),
    ):
        with pytest.raises(config.ConfigError, match=named):
            config.experiment(**parts)


def test_an_experiment_that_was_kept_with_parameters_nobody_read_still_opens():
    loss = {"coarse": 0.5, "decoder": 0.5, "cross_modal": 0.1, "temporal": 0.1, "limit": 0.9}
    model = {"name": "published", "motion": True, "level_widths": [1, 2, 3], "mask_scale": 4, "heads": 2}
    kept = config.kept(json.dumps({"run": "x", "model": model, "loss": loss}))
    assert kept == config.experiment(run="x", model={"name": "published", "heads": 2}, loss={"limit": 0.9})
    old = {"model": {"quirks": {"gate": False}, "heads": 4}, "loss": {"limit": 0.95, "coarse": 0.3}}
    assert config.kept(json.dumps(old)) == config.experiment(model={"heads": 4}, loss={"coarse": 0.3})
    with pytest.raises(config.ConfigError, match="unknown parameter 'headz'"):
        config.kept(json.dumps({"model": {"headz": 4}}))
    with pytest.raises(config.ConfigError, match="found list"):
        config.kept("[]")


def test_the_published_network_has_its_own_sizes_unless_told_otherwise():
    model = config.experiment(model={"name": "published"}).model
    assert (model.heads, model.language.max_words) == (4, 20)
    assert (model.appearance_backbone.name, model.motion_backbone.name) == ("resnet101", "resnet34")
    parts = {"name": "published", "heads": 2, "appearance_backbone": {"weights": None}}
    model = config.experiment(model=parts).model
    assert (model.heads, model.appearance_backbone.name, model.appearance_backbone.weights) == (
        2, "resnet101", None,
    )  # fmt: skip
    assert config.experiment().model.appearance_backbone.name == "resnet50"


def test_relative_paths_hang_from_the_repository(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert config.resolve("reports") == config.ROOT / "reports"
    assert config.resolve(tmp_path) == tmp_path


def test_the_run_with_resnet101_differs_in_its_appearance_backbone_alone():
    base, deeper = config.load("params/a2d.yaml"), config.load("params/a2d_resnet101.yaml")
    backbone = base.model.appearance_backbone.model_copy(update={"name": "resnet101"})
    model = base.model.model_copy(update={"appearance_backbone": backbone})
    assert base.model_copy(update={"run": deeper.run, "model": model}) == deeper


def test_the_list_of_samples_and_missing_pictures_do_not_change_the_training():
    changed = config.experiment(data={"jhmdb_samples": "list.csv", "pictures": False})
    assert changed.fingerprint() == config.experiment().fingerprint()


def test_the_run_without_flow_differs_in_nothing_but_flow():
    full = config.load("params/moving_shapes.yaml")
    without = config.load("params/moving_shapes_no_flow.yaml")
    assert not without.model.motion
    with_flow = without.model.model_copy(update={"motion": True})
    assert without.model_copy(update={"run": full.run, "model": with_flow}) == full


def test_one_data_set_is_one_however_it_is_written():
    plain = config.experiment(data={"train_on": "mevis-train"})
    for written in (["mevis-train"], {"mevis-train": 2}):
        other = config.experiment(data={"train_on": written})
        assert other == plain and other.fingerprint() == plain.fingerprint()
    names = ["mevis-train", "a2d-train"]
    several = [names, dict(zip(names, (1, 2), strict=True)), dict(zip(names, (2, 2), strict=True))]
    prints = [config.experiment(data={"train_on": one}).fingerprint() for one in several]
    assert len({*prints, plain.fingerprint()}) == 4
    assert config.experiment(data={"train_on": several[1]}).data.training_sets == names


@pytest.mark.parametrize(
    "value",
    [[], {}, ["a2d-train"] * 2, [1], {"a2d-train": 0}, {"a2d-train": -1}, {"a2d-train": "x"}, 5, None],
)
def test_what_no_data_sets_are_is_refused(value):
    with pytest.raises(config.ConfigError, match="data.train_on: .*expected a data set, a list"):
        config.experiment(data={"train_on": value})


@pytest.mark.parametrize("name", ["ref-youtube-vos-train", "my-own-set-train", "own-some-split"])
def test_names_of_data_sets_may_have_hyphens(name):
    family = {"own-some-split": "own"}.get(name, name.removesuffix("-train"))
    assert config.Data(train_on=name, roots={family: "x"}).roots == {family: "x"}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"data": {"roots": {"jhmb": "x"}}}, "data: .*roots: unknown data set 'jhmb': did you mean 'jhmdb'"),
        ({"data": {"roots": {"ref": "x"}}}, "roots: unknown data set 'ref': "),
        (
            {"data": {"train_on": "ref-youtube-vos-train", "roots": {"ref": "x"}}},
            "roots: unknown data set 'ref': ",
        ),
        ({"training": {"rate": float("inf")}}, "training.rate: .*finite"),
        ({"training": {"rate": float("nan")}}, "training.rate: "),
        ({"data": {"evaluate_on": []}}, "data.evaluate_on: .*at least 1"),
        ({"seed": -1}, "seed: .*greater than or equal to 0"),
        ({"training": {"batch": 1}}, "training.batch: 1 is too few for the multimodal network"),
        ({"model": []}, "model: "),
        ({"model": {"name": ["multimodal"]}}, "model.name: no network "),
    ],
)
def test_what_cannot_be_meant_is_refused(parts, message):
    with pytest.raises(config.ConfigError, match=message):
        config.experiment(**parts)
    assert config.experiment(model={"name": "published"}, training={"batch": 1}).training.batch == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"run: \xff\xfe", "not a text file in UTF-8: byte 5"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"", "expected 'key: value' lines, found NoneType"),
        (b"run: x\nseed: 0o9z\n", "seed: "),
        (b"1: 2\n", "unknown parameter '1'"),
        (b"run: x\nseed: 1\nseed: 2\n", "'seed' stands twice"),
        (b"model: {width: 30, heads: 8}\n", "width 30 must be a multiple of the number of heads, 8"),
        (b"training: {rate: .inf}\n", "training.rate"),
        (b"\x00", "not YAML"),
    ],
)
def test_a_file_that_is_no_params_file_is_named(tmp_path, content, message):
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(config.ConfigError, match=rf"(?s)bad\.yaml: .*{message}"):
        config.load(tmp_path / "bad.yaml")
    with pytest.raises(config.ConfigError, match=rf"{tmp_path.name}: cannot be read: Is a directory"):
        config.load(tmp_path)


def test_a_date_is_a_name_as_papermill_reads_it(tmp_path):
    (tmp_path / "dated.yaml").write_text("run: 2024-01-01\n")
    assert config.load(tmp_path / "dated.yaml").run == "2024-01-01"


def test_threads_are_part_of_the_fingerprint():
    """Sums in another order have other last digits; 1 and torch's choice were in no fingerprint at first."""
    prints = [config.experiment(training={"threads": threads}).fingerprint() for threads in (None, 1, 2, 3)]
    assert prints[0] == prints[1] and len(set(prints)) == 3


def test_systems_change_what_is_given_of_time_and_shrink_the_schedule():
    base = config.experiment(run="x", training={"steps": 900, "warmup": 90, "validate_every": 300})
    assert base.as_system("video+flow", 900, 1.0, 0) is base
    cell = base.as_system("image", 300, 0.25, 2)
    assert cell.run == "x/explicit_motion/image/300-0.25/2" and cell.seed == 2
    assert (cell.model.appearance, cell.model.motion) == ("target", False)
    training = cell.training
    assert (training.steps, training.share) == (300, 0.25)
    assert (training.warmup, training.validate_every) == (30, 100)
    fingerprints = {base.as_system(system, 900, 1.0, 0).fingerprint() for system in config.SYSTEMS}
    assert len(fingerprints) == 4
    video = config.experiment(run="y", model={"motion": False}, training=base.training.model_dump())
    assert base.as_system("video", 900, 1.0, 0).fingerprint() == video.fingerprint()
    for refused, reason in (
        (("sound", 900, 1.0, 0), "unknown system 'sound'"),
        (("flow", 0, 1.0, 0), "training.steps"),
        (("flow", 900, 0.0, 0), "training.share"),
    ):
        with pytest.raises(config.ConfigError, match=reason):
            base.as_system(*refused)


def test_budgets_of_a_plan():
    plan = config.LadderPlan(steps=[3, 1, 2], shares=[0.5])
    assert plan.budgets == [(3, 1.0), (1, 1.0), (2, 1.0), (2, 0.5)]
    assert [config.budget(*one) for one in plan.budgets] == ["3", "1", "2", "2/0.5"]
    assert config.LadderPlan().budgets == []


def test_a_plan_has_rates_of_some_trainings():
    base = config.experiment(run="x", training={"steps": 900, "rate": 0.1, "backbone_rate": 0.2})
    plan = config.LadderPlan(rates={300: 0.4})

    def rates(cell):
        return cell.training.rate, cell.training.backbone_rate, cell.training.language_rate

    for system, share in (("image", 1.0), ("flow", 0.5)):
        assert rates(plan.as_system(base, system, 300, share, 2)) == (0.4, 0.4, 0.4)
    assert plan.as_system(base, "video+flow", 900, 1.0, 0) is base
    assert plan.as_system(base, "image", 400, 1.0, 0) == base.as_system("image", 400, 1.0, 0)
    with pytest.raises(config.ConfigError, match="rates"):
        config.parameters({"ladder": {"rates": {900: -1}}})


def test_a_share_of_the_videos_holds_out_videos():
    with pytest.raises(config.ConfigError, match="hold_out: videos"):
        config.experiment(training={"share": 0.5, "hold_out": "frames"})
