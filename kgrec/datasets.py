"""The public data sets that kgrec reads: where they are, whose they are, how to cite them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file on somebody's server."""

    url: str
    """May contain `{category}`."""
    sha256: str | None = None
    """Where it is known; else the first download's is recorded and checked ever after."""
    unpack: bool = False
    """Whether it is a zip whose members are wanted."""

    def at(self, category: str | None, base_url: str | None) -> str:
        """The address: of this category, on this mirror (the same file name in one folder)."""
        url = self.url.replace("{category}", category or "")
        if base_url is None:
            return url
        return f"{base_url.rstrip('/')}/{urlsplit(url).path.rsplit('/', 1)[-1]}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One public data set, or one of its forms."""

    name: str
    about: str
    page: str
    files: tuple[RemoteFile, ...]
    licence: str
    citation: str
    schema: str
    """The shipped schema that reads it."""
    categories: tuple[str, ...] = ()
    """What `category` may be; empty where the set is one."""
    by_hand: str | None = None
    """How a person gets it where no address answers without a login."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_AMAZON_LICENCE = (
    "none is stated; the reviews belong to their authors and Amazon, and McAuley Lab, UC San "
    "Diego, releases them for research"
)
_CITE_2014 = (
    "R. He, J. McAuley: Ups and Downs: Modeling the Visual Evolution of Fashion Trends with "
    "One-Class Collaborative Filtering. WWW 2016; J. McAuley, C. Targett, Q. Shi, A. van den "
    "Hengel: Image-based Recommendations on Styles and Substitutes. SIGIR 2015"
)
_CITE_2018 = (
    "J. Ni, J. Li, J. McAuley: Justifying Recommendations using Distantly-Labeled Reviews and "
    "Fine-Grained Aspects. EMNLP 2019"
)
_CITE_2023 = (
    "Y. Hou, J. Li, Z. He, A. Yan, X. Chen, J. McAuley: Bridging Language and Items for Retrieval "
    "and Recommendation. arXiv:2403.03952, 2024"
)
_CITE_RECBOLE = (
    "W. X. Zhao et al.: RecBole: Towards a Unified, Comprehensive and Efficient Framework for "
    "Recommendation Algorithms. CIKM 2021"
)
_CITE_KGAT = (
    "X. Wang, X. He, Y. Cao, M. Liu, T.-S. Chua: KGAT: Knowledge Graph Attention Network for "
    "Recommendation. KDD 2019"
)
_CITE_TAOBAO = (
    "H. Zhu et al.: Learning Tree-based Deep Model for Recommender Systems. KDD 2018; "
    "H. Zhu et al.: Joint Optimization of Tree-based Index and Deep Model for Recommender "
    "Systems. NeurIPS 2019"
)
_KGAT_LICENCE = (
    "research only, no redistribution, no commercial use without the authors' permission, with "
    "acknowledgement (Data/README.md of the repository)"
)

_CATEGORIES_2014 = _names(
    """Amazon_Instant_Video Apps_for_Android Automotive Baby Beauty Books CDs_and_Vinyl
    Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics
    Grocery_and_Gourmet_Food Health_and_Personal_Care Home_and_Kitchen Kindle_Store Movies_and_TV
    Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies Sports_and_Outdoors
    Tools_and_Home_Improvement Toys_and_Games Video_Games"""
)
_CATEGORIES_2018 = _names(
    """AMAZON_FASHION All_Beauty Appliances Arts_Crafts_and_Sewing Automotive Books CDs_and_Vinyl
    Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards
    Grocery_and_Gourmet_Food Home_and_Kitchen Industrial_and_Scientific Kindle_Store Luxury_Beauty
    Magazine_Subscriptions Movies_and_TV Musical_Instruments Office_Products Patio_Lawn_and_Garden
    Pet_Supplies Prime_Pantry Software Sports_and_Outdoors Tools_and_Home_Improvement
    Toys_and_Games Video_Games"""
)
_CATEGORIES_2023 = _names(
    """All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products
    Beauty_and_Personal_Care Books CDs_and_Vinyl Cell_Phones_and_Accessories
    Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards Grocery_and_Gourmet_Food
    Handmade_Products Health_and_Household Health_and_Personal_Care Home_and_Kitchen
    Industrial_and_Scientific Kindle_Store Magazine_Subscriptions Movies_and_TV
    Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies Software
    Sports_and_Outdoors Subscription_Boxes Tools_and_Home_Improvement Toys_and_Games Unknown
    Video_Games"""
)
# RecBole puts "Amazon_" before every name, and so drops it from those that have it.
_RECBOLE_2014 = tuple(c.removeprefix("Amazon_") for c in _CATEGORIES_2014)
_RECBOLE_2018 = tuple("Fashion" if c == "AMAZON_FASHION" else c for c in _CATEGORIES_2018)

_SNAP = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
_UCSD = "https://mcauleylab.ucsd.edu/public_datasets/data"
_RECBOLE = "https://recbole.s3-accelerate.amazonaws.com/ProcessedDatasets/Amazon_ratings"
# One commit, so that a hash stays true.
_KGAT = (
    "https://raw.githubusercontent.com/xiangwang1223/knowledge_graph_attention_network/"
    "c03737be46ac26a0b5431efe149828e982ffbbfb/Data"
)


def _amazon(
    name: str,
    about: str,
    page: str,
    files: tuple[str, ...],
    citation: str,
    schema: str,
    categories: tuple[str, ...],
) -> Dataset:
    remote = tuple(RemoteFile(url) for url in files)
    return Dataset(name, about, page, remote, _AMAZON_LICENCE, citation, schema, categories)


def _kgat(part: str, about: str, hashes: dict[str, str | None]) -> Dataset:
    files = tuple(
        RemoteFile(f"{_KGAT}/{part}/{name}", sha256, unpack=name.endswith(".zip"))
        for name, sha256 in hashes.items()
    )
    page = "https://github.com/xiangwang1223/knowledge_graph_attention_network"
    return Dataset(f"kgat-{part}", about, page, files, _KGAT_LICENCE, _CITE_KGAT, "kgat")


DATASETS: tuple[Dataset, ...] = (
    _amazon(
        "amazon-2014",
        "reviews (5-core) and metadata of one category, 1996 to 2014",
        "https://jmcauley.ucsd.edu/data/amazon/index_2014.html",
        (f"{_SNAP}/reviews_{{category}}_5.json.gz", f"{_SNAP}/meta_{{category}}.json.gz"),
        _CITE_2014,
        "amazon-2014",
        _CATEGORIES_2014,
    ),
    _amazon(
        "amazon-2018",
        "reviews (5-core) and metadata of one category, 1996 to 2018",
        "https://nijianmo.github.io/amazon/index.html",
        (
            f"{_UCSD}/amazon_v2/categoryFilesSmall/{{category}}_5.json.gz",
            f"{_UCSD}/amazon_v2/metaFiles2/meta_{{category}}.json.gz",
        ),
        _CITE_2018,
        "amazon-2018",
        _CATEGORIES_2018,
    ),
    _amazon(
        "amazon-2018-all",
        "every review and the metadata of one category, 1996 to 2018",
        "https://nijianmo.github.io/amazon/index.html",
        (
            f"{_UCSD}/amazon_v2/categoryFiles/{{category}}.json.gz",
            f"{_UCSD}/amazon_v2/metaFiles2/meta_{{category}}.json.gz",
        ),
        _CITE_2018,
        "amazon-2018",
        _CATEGORIES_2018,
    ),
    _amazon(
        "amazon-2023",
        "every review and the metadata of one category, 1996 to 2023",
        "https://amazon-reviews-2023.github.io/",
        (
            f"{_UCSD}/amazon_2023/raw/review_categories/{{category}}.jsonl.gz",
            f"{_UCSD}/amazon_2023/raw/meta_categories/meta_{{category}}.jsonl.gz",
        ),
        _CITE_2023,
        "amazon-2023",
        _CATEGORIES_2023,
    ),
    _amazon(
        "amazon-2023-5core",
        "ratings (5-core) and metadata of one category, 1996 to 2023",
        "https://amazon-reviews-2023.github.io/",
        (
            f"{_UCSD}/amazon_2023/benchmark/5core/rating_only/{{category}}.csv.gz",
            f"{_UCSD}/amazon_2023/raw/meta_categories/meta_{{category}}.jsonl.gz",
        ),
        _CITE_2023,
        "amazon-2023",
        _CATEGORIES_2023,
    ),
    Dataset(
        "taobao-userbehavior",
        "100,150,807 page views, carts, favourites and purchases of 987,994 users, 2017",
        "https://tianchi.aliyun.com/dataset/649",
        (),
        "as its page states it to those who log in",
        _CITE_TAOBAO,
        "taobao-userbehavior",
        by_hand=(
            "log in at https://tianchi.aliyun.com/dataset/649 (an Alibaba Cloud account is free), "
            "download UserBehavior.csv.zip, and unpack it: UserBehavior.csv has no header"
        ),
    ),
    _kgat(
        "amazon-book",
        "Amazon-Book with its Freebase graph: the split of KGAT, KGIN and KGRec",
        {
            "train.txt": "4d10106bb06a77e11df660429903c0067aeb85b86431807836b0d8b7edc30c38",
            "test.txt": "f47eff9d35fb95c07d74251a991478a84095ce6c5969b0dafcb4afe99fc716ec",
            "user_list.txt": "ae2e001d4e49fd82d4c7e25f950827a8be2fbd5c6f3a16dacb2d104edb32310e",
            "item_list.txt": "efea8518cd68e515584fdfbfca95f318b25ef551c64498c5935897c2b02e436f",
            "entity_list.txt": "b03e9cb7eeab38756f0b10c06478a611201a7d42cb16acb8513624dda05270ca",
            "relation_list.txt": "50fe9c6560224b20d8ace78ae8ca0b8dad39248f6dc900f6744b633ba8c33f4b",
            "kg_final.txt.zip": None,
        },
    ),
    _kgat(
        "last-fm",
        "Last-FM with its Freebase graph: the split of KGAT",
        {
            "train.txt": None,
            "test.txt": "bb79750f3a034e5ce5bc4aa8541cdc9d456ea51158f0059f84167942bd9837b2",
            "user_list.txt": "3ccf277897bbc1cdc7ca6689f76045397462a8dc69615a7e47ed10f88e180f0d",
            "item_list.txt": "0e4991b5b8a292e82dc5fe3ca34bd04dc90bdeee63e0b99d71b4b8d93c129e80",
            "entity_list.txt": "56741c54984c929682ffb89f5e255ebdbf862fa031157220474139824d4f9ba7",
            "relation_list.txt": "069643eab7dea9e21b02e8c7b8df4af91fb70f0628a5a36cb3091cfcb87d8e7d",
            "kg_final.txt": None,
        },
    ),
    _kgat(
        "yelp2018",
        "Yelp2018 with its local-business graph: the split of KGAT",
        {
            "train.txt": None,
            "test.txt": "ad1034bf609176893abcce4b7b9266d9f02fcc05e13966aa078b432df02a78f0",
            "user_list.txt": "49b8f178a6a6ee71d0d0b06242628afe9289d27734d44fa31f6d07aa4611b7be",
            "item_list.txt": "1ba988c00ea8d97945a5fb0f6cbb3867e55f327e2c341bcfe55c5a5584b06a9d",
            "entity_list.txt": "bb6390ee1568eed802d5113a6b4b38e76402bce88519186d2a99402955571801",
            "relation_list.txt": "f5b19de6fc169ec6f4ac9943cce7614d1427b32130a6063f990721b45e636abc",
            "kg_final.txt.zip": None,
        },
    ),
    Dataset(
        "recbole-amazon-2014",
        "ratings and metadata of one category of Amazon 2014 as RecBole atomic files",
        "https://github.com/RUCAIBox/RecSysDatasets",
        (RemoteFile(f"{_RECBOLE}/Amazon_{{category}}.zip", unpack=True),),
        _AMAZON_LICENCE,
        f"{_CITE_RECBOLE}; {_CITE_2014}",
        "recbole",
        _RECBOLE_2014,
    ),
    Dataset(
        "recbole-amazon-2018",
        "ratings and metadata of one category of Amazon 2018 as RecBole atomic files",
        "https://github.com/RUCAIBox/RecSysDatasets",
        (RemoteFile(f"{_RECBOLE}/Amazon2018/Amazon_{{category}}.zip", unpack=True),),
        _AMAZON_LICENCE,
        f"{_CITE_RECBOLE}; {_CITE_2018}",
        "recbole",
        _RECBOLE_2018,
    ),
)
