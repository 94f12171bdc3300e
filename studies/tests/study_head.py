"""The beginning of a small study file, up to its stages."""

HEAD = """\
study: cats
dataset:
  keypoints: cats
  root: data/cats
  train: {annotations: train.json, images: images}
  val: {annotations: val.json, images: images}
baseline:
  model: resnet18
  input_size: [64, 64]
  epochs: 4
  batch_size: 8
  optimizer: {type: Adam, lr: 1.0e-3}
stages:
"""
