"""What ImageNet's classes say about where a photo was taken: in which kind of room, or before which open scene.

A class is indoor if photos of it are nearly always taken inside, outdoor if nearly never; most clothes, tools, pets,
fruit and what is carried about say nothing, and are left out. Decided by what words mean, not by any test's pictures.
Classes stand under the place that they tell of, because a prompt that goes to all directions shall name surroundings:
one that names a thing puts it everywhere. Under NOWHERE stand those that tell inside from outside, and no more.
"""

from typing import NamedTuple

WILD = "wild animal"
"""The name that all of them have."""

NOWHERE = ""

_INDOOR = {
    "bathroom": """434 bath towel, 435 bathtub, 589 hair dryer, 648 medicine cabinet, 731 plunger, 793 shower cap,
        794 shower curtain, 804 soap dispenser, 861 toilet seat, 876 tub, 896 washbasin, 999 toilet paper""",
    "laundry": "588 hamper, 606 iron, 882 vacuum cleaner, 897 washing machine",
    "kitchen": """473 can opener, 499 meat cleaver, 505 coffeepot, 521 Crock Pot, 533 dishcloth, 534 dishwasher,
        550 espresso maker, 567 frying pan, 618 ladle, 647 measuring cup, 651 microwave, 659 mixing bowl,
        700 paper towel, 729 plate rack, 760 refrigerator, 813 spatula, 827 stove, 828 strainer, 859 toaster,
        891 waffle iron, 909 wok, 910 wooden spoon, 961 dough""",
    "dining room": """441 beer glass, 495 china cabinet, 504 coffee mug, 532 dining table, 572 goblet, 762 restaurant,
        773 saltshaker, 809 soup bowl, 849 teapot, 868 tray, 907 wine bottle, 923 plate, 924 guacamole, 925 consomme,
        926 hot pot, 927 trifle, 935 mashed potato, 959 carbonara, 960 chocolate sauce, 962 meat loaf, 963 pizza,
        964 potpie, 965 burrito, 966 red wine, 967 espresso, 968 cup, 969 eggnog""",
    "bedroom": """431 bassinet, 492 chest, 493 chiffonier, 516 cradle, 520 crib, 564 four-poster, 697 pajama,
        721 pillow, 750 quilt, 831 studio couch, 894 wardrobe""",
    "living room": """496 Christmas stocking, 548 entertainment center, 556 fire screen, 598 home theater,
        619 lampshade, 761 remote control, 782 screen, 846 table lamp, 851 television, 883 vase, 905 window shade""",
    "Japanese room": "789 shoji",
    "staircase": "421 bannister",
    "office": """446 binder, 508 computer keyboard, 526 desk, 527 desktop computer, 528 dial telephone,
        553 file cabinet, 620 laptop, 662 modem, 664 monitor, 673 computer mouse, 681 notebook computer,
        710 pencil sharpener, 713 photocopier, 742 printer, 810 space bar, 878 typewriter keyboard""",
    "library": "453 bookcase, 454 bookshop, 624 library",
    "shop": """415 bakery, 467 butcher shop, 509 confectionery, 582 grocery store, 788 shoe shop, 790 shopping basket,
        865 toyshop""",
    "barbershop": "423 barber chair, 424 barbershop",
    "gym": """416 balance beam, 422 barbell, 543 dumbbell, 602 horizontal bar, 702 parallel bars, 722 ping-pong ball,
        747 punching bag""",
    "laboratory": """438 beaker, 617 lab coat, 688 oscilloscope, 712 Petri dish, 778 scale, 823 stethoscope,
        845 syringe""",
    "workshop": "739 potter's wheel, 786 sewing machine",
    "church interior": "406 altar, 687 organ, 884 vault",
    "concert hall": """486 cello, 579 grand piano, 594 harp, 642 marimba, 818 spotlight, 819 stage,
        854 theater curtain""",
    "games room": "736 pool table, 800 slot",
    NOWHERE: """398 abacus, 418 ballpoint, 443 bib, 470 candle, 481 cassette, 482 cassette player, 485 CD player,
        503 cocktail shaker, 512 corkscrew, 529 diaper, 530 digital clock, 545 electric fan, 549 envelope,
        551 face powder, 563 fountain pen, 585 hair spray, 592 hard disc, 604 hourglass, 611 jigsaw puzzle,
        613 joystick, 623 letter opener, 629 lipstick, 632 loudspeaker, 680 nipple, 709 pencil box, 711 perfume,
        719 piggy bank, 720 pill bottle, 725 pitcher, 741 prayer rug, 745 projector, 749 quill, 753 radiator, 754 radio,
        767 rubber eraser, 769 ruler, 771 safe, 798 slide rule, 799 sliding door, 811 space heater, 840 mop,
        844 electric switch, 848 tape player, 850 teddy bear, 855 thimble, 857 throne, 881 upright piano,
        892 wall clock, 901 whiskey jug, 930 French loaf, 931 bagel, 932 pretzel""",
}

_OUTDOOR = {
    "mountains": "970 alp, 979 valley, 980 volcano",
    "cliffs": "500 cliff dwelling, 972 cliff",
    "hot springs": "974 geyser",
    "lakeside": "449 boathouse, 472 canoe, 693 paddle, 975 lakeside",
    "seashore": """437 lighthouse, 460 breakwater, 801 snorkel, 913 wreck, 976 promontory, 977 sandbar,
        978 seashore""",
    "under water": "973 coral reef, 983 scuba diver",
    "harbour": """484 catamaran, 510 container ship, 536 dock, 554 fireboat, 625 lifeboat, 628 ocean liner, 718 pier,
        724 pirate ship, 780 schooner, 814 speedboat, 871 trimaran, 914 yawl""",
    "open sea": "403 aircraft carrier, 540 drilling platform, 833 submarine",
    "canal": "576 gondola",
    "river": "525 dam, 694 paddlewheel, 821 steel arch bridge, 839 suspension bridge",
    "street": """407 ambulance, 468 taxi, 555 fire engine, 557 flagpole, 569 garbage truck, 571 gas pump, 612 rickshaw,
        627 limousine, 637 mailbox, 640 manhole cover, 654 minibus, 665 moped, 670 motor scooter, 704 parking meter,
        734 police van, 779 school bus, 829 streetcar, 874 trolleybus, 879 umbrella, 919 street sign,
        920 traffic light""",
    "road": """436 station wagon, 475 car mirror, 479 car wheel, 511 convertible, 581 radiator grille, 609 jeep,
        656 minivan, 661 Model T, 675 moving van, 717 pickup, 751 racing car, 817 sports car, 864 tow truck,
        867 trailer truck""",
    "railway": """466 bullet train, 547 electric locomotive, 565 freight car, 820 steam locomotive, 888 viaduct""",
    "airfield": "404 airliner, 812 space shuttle, 895 warplane, 908 wing",
    "historic buildings": """442 bell cote, 483 castle, 497 church, 663 monastery, 668 mosque, 682 obelisk, 698 palace,
        832 stupa, 858 tile roof, 873 triumphal arch""",
    "garden": """428 wheelbarrow, 448 birdhouse, 562 fountain, 621 lawn mower, 646 maze, 703 park bench, 706 patio,
        716 picket fence, 756 rain barrel, 835 sundial, 843 swing, 985 daisy, 986 yellow lady's slipper, 989 hip""",
    "farmland": """410 apiary, 425 barn, 595 harvester, 603 horse cart, 690 oxcart, 730 plow, 825 stone wall,
        853 thatch, 856 thresher, 866 tractor, 900 water tower, 912 worm fence, 958 hay, 984 rapeseed""",
    "forest": """988 acorn, 990 buckeye, 991 coral fungus, 992 agaric, 993 gyromitra, 994 stinkhorn, 995 earthstar,
        996 hen-of-the-woods, 997 bolete""",
    "snow": "450 bobsled, 537 dogsled, 795 ski, 802 snowmobile, 803 snowplow",
    "steppe": "649 megalith, 915 yurt",
    "camp": "660 mobile home, 672 mountain tent, 757 recreational vehicle",
    "playing field": """522 croquet ball, 560 football helmet, 574 golf ball, 575 golfcart, 768 rugby ball,
        981 ballplayer""",
    NOWHERE: """405 airship, 408 amphibian, 417 balloon, 444 bicycle-built-for-two, 471 cannon, 476 carousel,
        489 chainlink fence, 517 crane, 586 half track, 645 maypole, 657 missile, 671 mountain bike, 701 parachute,
        744 projectile, 755 radio telescope, 807 solar dish, 815 spider web, 847 tank, 863 totem pole""",
}

_WILD = (0, *range(7, 29), *range(30, 69), *range(70, 87), *range(90, 107), 113, 114, *range(127, 149), 150)
_WILD += (*range(269, 281), *range(286, 314), *range(315, 327), 330, 331, *range(334, 338), *range(339, 389))
"""Animals outside: neither dogs nor cats, nor what is kept in cages and tanks or served on plates."""


class SceneClass(NamedTuple):
    """number: ImageNet's; name: one of its names; place: what it tells of, or NOWHERE; indoor: where it is found."""

    number: int
    name: str
    place: str
    indoor: bool


def _parsed(places: dict[str, str], indoor: bool) -> list[SceneClass]:
    entries = [(place, *entry.split(maxsplit=1)) for place, text in places.items() for entry in text.split(",")]
    return [SceneClass(int(number), name, place, indoor) for place, number, name in entries]


SCENE_CLASSES = (
    *_parsed(_INDOOR, indoor=True),
    *_parsed(_OUTDOOR, indoor=False),
    *(SceneClass(number, WILD, NOWHERE, indoor=False) for number in _WILD),
)
"""All classes that tell anything."""
