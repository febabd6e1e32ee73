"""One adapter a format. Importing this package registers all of them."""

from projects.sa2va.datasets.adapters.coco import CocoInstances
from projects.sa2va.datasets.adapters.describe_anything import DescribeAnything
from projects.sa2va.datasets.adapters.generated_scenes import GeneratedScenes
from projects.sa2va.datasets.adapters.open_images import OpenImages
from projects.sa2va.datasets.adapters.own_data import OwnData
from projects.sa2va.datasets.adapters.photos import ImgvizPhotos
from projects.sa2va.datasets.adapters.refer import ReferExpressions
from projects.sa2va.datasets.adapters.sa1b import Sa1b
from projects.sa2va.datasets.adapters.sav_pairs import SavPairs
from projects.sa2va.datasets.adapters.sav_videos import SavVideos
from projects.sa2va.datasets.adapters.scenes import SceneExpressions, SceneMasks
from projects.sa2va.datasets.adapters.tar_shards import TarShards

__all__ = [
    "CocoInstances",
    "DescribeAnything",
    "GeneratedScenes",
    "ImgvizPhotos",
    "OpenImages",
    "OwnData",
    "ReferExpressions",
    "Sa1b",
    "SavPairs",
    "SavVideos",
    "SceneExpressions",
    "SceneMasks",
    "TarShards",
]
