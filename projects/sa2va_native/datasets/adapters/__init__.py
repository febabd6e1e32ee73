"""One adapter per format. Importing this package registers all of them."""

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.datasets.adapters.describe_anything import DescribeAnything
from sa2va_native.datasets.adapters.generated_scenes import GeneratedScenes
from sa2va_native.datasets.adapters.open_images import OpenImages
from sa2va_native.datasets.adapters.own_data import OwnData
from sa2va_native.datasets.adapters.photos import ImgvizPhotos
from sa2va_native.datasets.adapters.refer import ReferExpressions
from sa2va_native.datasets.adapters.sa1b import Sa1b
from sa2va_native.datasets.adapters.sav_pairs import SavPairs
from sa2va_native.datasets.adapters.sav_videos import SavVideos
from sa2va_native.datasets.adapters.scenes import SceneExpressions, SceneMasks
from sa2va_native.datasets.adapters.tar_shards import TarShards

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
