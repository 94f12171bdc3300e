"""The literature behind what a study used: which works, their lines in the list of references, and BibTeX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from posestudy_reports.document import Reference

if TYPE_CHECKING:
    from posestudy_reports.document import Document


@dataclass(frozen=True)
class _Work:
    """A work: `kind` is BibTeX's, `where` its journal, book, publisher or address."""

    kind: str
    authors: str
    title: str
    where: str
    year: int
    pages: str = ""


_CVPR = "IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)"
_OLD_CVPR = "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)"
_ICCV = "IEEE/CVF International Conference on Computer Vision (ICCV)"
_ECCV = "European Conference on Computer Vision (ECCV)"
_NEURIPS = "Advances in Neural Information Processing Systems"
_ICLR = "International Conference on Learning Representations (ICLR)"

_WORKS: Final = {
    "mmpose2020": _Work(
        "misc", "{MMPose Contributors}", "OpenMMLab Pose Estimation Toolbox and Benchmark",
        "https://github.com/open-mmlab/mmpose", 2020,
    ),
    "paszke2019pytorch": _Work(
        "inproceedings",
        "Paszke, Adam and Gross, Sam and Massa, Francisco and Lerer, Adam and others",
        "PyTorch: An Imperative Style, High-Performance Deep Learning Library", _NEURIPS, 2019,
    ),
    "akiba2019optuna": _Work(
        "inproceedings",
        "Akiba, Takuya and Sano, Shotaro and Yanase, Toshihiko and Ohta, Takeru and Koyama, Masanori",
        "Optuna: A Next-generation Hyperparameter Optimization Framework",
        "ACM SIGKDD International Conference on Knowledge Discovery and Data Mining", 2019,
    ),
    "bergstra2011tpe": _Work(
        "inproceedings",
        "Bergstra, James and Bardenet, R{\\'e}mi and Bengio, Yoshua and K{\\'e}gl, Bal{\\'a}zs",
        "Algorithms for Hyper-Parameter Optimization", _NEURIPS, 2011,
    ),
    "li2018hyperband": _Work(
        "article",
        "Li, Lisha and Jamieson, Kevin and DeSalvo, Giulia and Rostamizadeh, Afshin and Talwalkar, Ameet",
        "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization",
        "Journal of Machine Learning Research", 2018,
    ),
    "li2020asha": _Work(
        "inproceedings",
        "Li, Liam and Jamieson, Kevin and Rostamizadeh, Afshin and Gonina, Ekaterina and Ben-tzur, Jonathan "
        "and Hardt, Moritz and Recht, Benjamin and Talwalkar, Ameet",
        "A System for Massively Parallel Hyperparameter Tuning", "Conference on Machine Learning and Systems (MLSys)",
        2020,
    ),
    "hutter2014fanova": _Work(
        "inproceedings", "Hutter, Frank and Hoos, Holger and Leyton-Brown, Kevin",
        "An Efficient Approach for Assessing Hyperparameter Importance",
        "International Conference on Machine Learning (ICML)", 2014,
    ),
    "watanabe2023pedanova": _Work(
        "inproceedings", "Watanabe, Shuhei and Bansal, Archit and Hutter, Frank",
        "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces",
        "International Joint Conference on Artificial Intelligence (IJCAI)", 2023,
    ),
    "kingma2015adam": _Work(
        "inproceedings", "Kingma, Diederik P. and Ba, Jimmy", "Adam: A Method for Stochastic Optimization", _ICLR, 2015
    ),
    "loshchilov2019adamw": _Work(
        "inproceedings", "Loshchilov, Ilya and Hutter, Frank", "Decoupled Weight Decay Regularization", _ICLR, 2019
    ),
    "liu2020radam": _Work(
        "inproceedings",
        "Liu, Liyuan and Jiang, Haoming and He, Pengcheng and Chen, Weizhu and Liu, Xiaodong and Gao, Jianfeng "
        "and Han, Jiawei",
        "On the Variance of the Adaptive Learning Rate and Beyond", _ICLR, 2020,
    ),
    "duchi2011adagrad": _Work(
        "article", "Duchi, John and Hazan, Elad and Singer, Yoram",
        "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization",
        "Journal of Machine Learning Research", 2011,
    ),
    "zeiler2012adadelta": _Work(
        "misc", "Zeiler, Matthew D.", "ADADELTA: An Adaptive Learning Rate Method", "arXiv:1212.5701", 2012
    ),
    "loshchilov2017sgdr": _Work(
        "inproceedings", "Loshchilov, Ilya and Hutter, Frank", "SGDR: Stochastic Gradient Descent with Warm Restarts",
        _ICLR, 2017,
    ),
    "goyal2017accurate": _Work(
        "misc",
        "Goyal, Priya and Doll{\\'a}r, Piotr and Girshick, Ross and Noordhuis, Pieter and others",
        "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", "arXiv:1706.02677", 2017,
    ),
    "micikevicius2018mixed": _Work(
        "inproceedings", "Micikevicius, Paulius and Narang, Sharan and Alben, Jonah and Diamos, Gregory and others",
        "Mixed Precision Training", _ICLR, 2018,
    ),
    "he2016resnet": _Work(
        "inproceedings", "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
        "Deep Residual Learning for Image Recognition", _OLD_CVPR, 2016,
    ),
    "zhang2022resnest": _Work(
        "inproceedings", "Zhang, Hang and Wu, Chongruo and Zhang, Zhongyue and Zhu, Yi and others",
        "ResNeSt: Split-Attention Networks",
        "IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops (CVPRW)", 2022,
    ),
    "xiao2018simple": _Work(
        "inproceedings", "Xiao, Bin and Wu, Haiping and Wei, Yichen",
        "Simple Baselines for Human Pose Estimation and Tracking", _ECCV, 2018,
    ),
    "sun2019hrnet": _Work(
        "inproceedings", "Sun, Ke and Xiao, Bin and Liu, Dong and Wang, Jingdong",
        "Deep High-Resolution Representation Learning for Human Pose Estimation", _CVPR, 2019,
    ),
    "liu2020scnet": _Work(
        "inproceedings", "Liu, Jiang-Jiang and Hou, Qibin and Cheng, Ming-Ming and Wang, Changhu and Feng, Jiashi",
        "Improving Convolutional Networks with Self-Calibrated Convolutions", _CVPR, 2020,
    ),
    "krizhevsky2012alexnet": _Work(
        "inproceedings", "Krizhevsky, Alex and Sutskever, Ilya and Hinton, Geoffrey E.",
        "ImageNet Classification with Deep Convolutional Neural Networks", _NEURIPS, 2012,
    ),
    "yang2021transpose": _Work(
        "inproceedings", "Yang, Sen and Quan, Zhibin and Nie, Mu and Yang, Wankou",
        "TransPose: Keypoint Localization via Transformer", _ICCV, 2021,
    ),
    "lin2014coco": _Work(
        "inproceedings", "Lin, Tsung-Yi and Maire, Michael and Belongie, Serge and Hays, James and others",
        "Microsoft COCO: Common Objects in Context", _ECCV, 2014,
    ),
    "ronchi2017benchmarking": _Work(
        "inproceedings", "Ronchi, Matteo Ruggero and Perona, Pietro",
        "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation",
        "IEEE International Conference on Computer Vision (ICCV)", 2017,
    ),
    "johnson2011lspet": _Work(
        "inproceedings", "Johnson, Sam and Everingham, Mark",
        "Learning Effective Human Pose Estimation from Inaccurate Annotation", _OLD_CVPR, 2011,
    ),
    "wu2018wflw": _Work(
        "inproceedings", "Wu, Wayne and Qian, Chen and Yang, Shuo and Wang, Quan and Cai, Yici and Zhou, Qiang",
        "Look at Boundary: A Boundary-Aware Face Alignment Algorithm", _CVPR, 2018,
    ),
    "zhang2020dark": _Work(
        "inproceedings", "Zhang, Feng and Zhu, Xiatian and Dai, Hanbin and Ye, Mao and Zhu, Ce",
        "Distribution-Aware Coordinate Representation for Human Pose Estimation", _CVPR, 2020,
    ),
    "huang2020udp": _Work(
        "inproceedings", "Huang, Junjie and Zhu, Zheng and Guo, Feng and Huang, Guan",
        "The Devil Is in the Details: Delving Into Unbiased Data Processing for Human Pose Estimation", _CVPR, 2020,
    ),
    "li2022simcc": _Work(
        "inproceedings", "Li, Yanjie and Yang, Sen and Liu, Peidong and Zhang, Shoukui and others",
        "SimCC: A Simple Coordinate Classification Perspective for Human Pose Estimation", _ECCV, 2022,
    ),
    "li2021rle": _Work(
        "inproceedings", "Li, Jiefeng and Bian, Siyuan and Zeng, Ailing and Wang, Can and others",
        "Human Pose Regression with Residual Log-Likelihood Estimation", _ICCV, 2021,
    ),
    "feng2018wing": _Work(
        "inproceedings",
        "Feng, Zhen-Hua and Kittler, Josef and Awais, Muhammad and Huber, Patrik and Wu, Xiao-Jun",
        "Wing Loss for Robust Facial Landmark Localisation with Convolutional Neural Networks", _CVPR, 2018,
    ),
    "buslaev2020albumentations": _Work(
        "article", "Buslaev, Alexander and Iglovikov, Vladimir I. and Khvedchenya, Eugene and others",
        "Albumentations: Fast and Flexible Image Augmentations", "Information", 2020,
    ),
    "efron1993bootstrap": _Work(
        "book", "Efron, Bradley and Tibshirani, Robert J.", "An Introduction to the Bootstrap", "Chapman and Hall", 1993
    ),
}  # fmt: skip

OPTIMIZER: Final = {
    "Adam": "kingma2015adam", "Adamax": "kingma2015adam", "AdamW": "loshchilov2019adamw", "RAdam": "liu2020radam",
    "Adagrad": "duchi2011adagrad", "Adadelta": "zeiler2012adadelta",
}  # fmt: skip
"""By torch's name of an optimizer."""
FAMILY: Final = {
    "ResNet": "he2016resnet", "ResNeSt": "zhang2022resnest", "HRNet": "sun2019hrnet", "SCNet": "liu2020scnet",
    "AlexNet": "krizhevsky2012alexnet", "TransPose": "yang2021transpose",
}  # fmt: skip
"""By the first word of a network's family."""
CODEC: Final = {"udp": "huang2020udp", "simcc": "li2022simcc"}
LOSS: Final = {"rle": "li2021rle", "wing": "feng2018wing"}
LAYOUT: Final = {"lspet": "johnson2011lspet", "wflw": "wu2018wflw", "coco": "lin2014coco"}
SAMPLER: Final = {"tpe": "bergstra2011tpe"}
PRUNER: Final = {"asha": "li2020asha", "hyperband": "li2018hyperband"}


def reference(key: str) -> Reference:
    """The work of that key.

    Raises:
        KeyError: no such work.
    """
    work = _WORKS[key]
    return Reference(key, _line(work), _bibtex(key, work))


def bibtex(document: Document) -> str:
    """`references.bib`: an entry for every reference of the paper, in its order; empty where it has none."""
    return "\n".join(found.bibtex for found in document.references)


_WHERE: Final = {"inproceedings": "booktitle", "article": "journal", "misc": "howpublished", "book": "publisher"}


def _bibtex(key: str, work: _Work) -> str:
    where = f"\\url{{{work.where}}}" if work.where.startswith("https://") else work.where
    fields = {"author": work.authors, "title": f"{{{work.title}}}", _WHERE[work.kind]: where, "year": str(work.year)}
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{work.kind}{{{key},\n{lines}\n}}\n"


_ACCENTS: Final = {"{\\'e}": "\u00e9", "{\\'a}": "\u00e1"}


def _line(work: _Work) -> str:
    """`K. He, X. Zhang, S. Ren and J. Sun. Deep Residual Learning ... CVPR, 2016.`"""
    authors = work.authors
    for tex, letter in _ACCENTS.items():
        authors = authors.replace(tex, letter)
    names = [_short(name) for name in authors.split(" and ")]
    if names[-1] == "others":
        who = f"{', '.join(names[:-1])} et al"
    else:
        who = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0].rstrip(".")
    return f"{who}. {work.title}. {work.where}, {work.year}."


def _short(name: str) -> str:
    """`He, Kaiming` as `K. He`; a group in braces as it is."""
    if name.startswith("{"):
        return name.strip("{}")
    last, _, first = name.partition(", ")
    if not first:
        return last
    initials = " ".join("-".join(f"{part[0]}." for part in word.split("-")) for word in first.split())
    return f"{initials} {last}"
