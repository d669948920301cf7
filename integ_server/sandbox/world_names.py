"""Words for worlds that are made by chance: games, studios and descriptions that nobody has ever sold."""

from __future__ import annotations

FREE_SOFTWARE = (
    ("SuperTuxKart", 2007, "Racing", "SuperTuxKart Team", "Arcade racing with Tux and friends, on tracks that never stand still."),
    (
        "The Battle for Wesnoth",
        2005,
        "Strategy",
        "Wesnoth Project",
        "Turn-based battles for a throne, with orcs, elves and a grammar of hexes.",
    ),
    ("0 A.D.", 2010, "Strategy", "Wildfire Games", "Build a settlement of the ancient world, and march on your neighbour's."),
    ("OpenTTD", 2004, "Simulation", "OpenTTD Team", "Trains, lorries, ships and planes, and a town that wants all of them at once."),
    ("Freeciv", 1996, "Strategy", "Freeciv Developers", "From the first city to the stars, one turn at a time."),
    ("Hedgewars", 2009, "Action", "Hedgewars Project", "Pink hedgehogs settle their differences with bazookas."),
)
"""(name, year, genre, developer, description) of games that anybody may give away."""

ADJECTIVES = (
    "Brass", "Thistle", "Salted", "Copper", "Wandering", "Saffron", "Velvet", "Lopsided", "Tidal", "Mossbound", "Borrowed", "Unsent",
    "Gilded", "Rusting", "Hushed", "Northbound", "Paper", "Amber", "Pewter", "Drowsy", "Ninth", "Slow", "Crooked", "Candlelit",
    "Windward", "Sunken", "Lacquered", "Thrifty", "Overgrown", "Tangled", "Feathered", "Unmapped", "Marbled", "Wicker", "Whistling",
    "Frostbitten", "Sleepless", "Second-Hand", "Ashen", "Starched", "Tinplate", "Moonwashed", "Penny", "Clay", "Half-Built",
    "Forgetful", "Inland", "Threadbare", "Ochre",
)  # fmt: skip

NOUNS = (
    "Almanac", "Ferry", "Beacon", "Apiary", "Cartographer", "Semaphore", "Orchard", "Tollhouse", "Clockmaker", "Signalman", "Kettle",
    "Weathervane", "Caravan", "Observatory", "Pilgrims", "Locksmith", "Archivist", "Canal", "Glasshouse", "Carousel", "Postmaster",
    "Parade", "Viaduct", "Menagerie", "Quarry", "Lodestone", "Chandlery", "Breakwater", "Bellfounder", "Granary", "Barometer",
    "Drawbridge", "Cooperage", "Ropewalk", "Saltworks", "Estuary", "Conservatory", "Printworks", "Turnpike", "Foundry", "Boathouse",
    "Mill", "Harvest Clock", "Tramway", "Cellar", "Marionette", "Planetarium", "Regatta", "Understudy", "Expedition",
    "Lighthouse Keeper", "Telegraph", "Windmill", "Apprentice",
)  # fmt: skip

PLACES = (
    "Orrowmere", "Veldane", "Tarnwick", "Ysolde-on-Sea", "Brackenholt", "Quillhaven", "Sarnath-Vey", "Lowmarrow", "Hethering",
    "Corvane", "Umberlow", "Fennick", "Aldersey", "Marrowgate", "Ospreth", "Wexcombe", "Dunmarrow", "Ilvaris", "Pellworth",
    "Skarravoe", "Trevannick", "Zephrane", "Nethershaw", "Kestrelby", "Gormley-Under-Hill", "Ravensough",
)  # fmt: skip

ACCENTED = (
    "Éclipse sur Veldane", "Señora de las Mareas", "Größere Fische", "Łódź Nights: Tramwaj", "Ða Last Skerry", "Ночь на Орроумере",
    "潮騒の郵便局", "안개 우체부",
)  # fmt: skip
"""Names that not every program prints, sorts and folds well."""

STUDIOS = (
    "Pier Nine", "Quay Works", "Hushed Vale", "Nine Valves", "Small Tide", "Thistle Post", "Kiln & Daughters", "Slow Lantern",
    "Copperline Games", "Two Herons", "Attic Weather", "Bracken Bros.", "Studio Umberlow", "Left of the Mill", "Ferrywoman",
    "Oddment Co-op", "Salt & Solder", "Long Table", "Marmalade Engine", "Paper Gull", "Tin Whistle Interactive",
    "Eleventh Hour Bakery", "Moth Lamp", "North Pier Software", "Harbourmaster",
)  # fmt: skip

GENRES = ("Action", "Adventure", "Casual", "Indie", "Puzzle", "Racing", "Role-playing", "Simulation", "Sports", "Strategy")

THINGS = (
    "almanac", "ferry", "beacon", "apiary", "semaphore", "orchard", "tollhouse", "kettle", "weathervane", "caravan", "observatory",
    "canal", "glasshouse", "carousel", "viaduct", "menagerie", "quarry", "lodestone", "breakwater", "granary", "barometer",
    "drawbridge", "ropewalk", "conservatory", "printworks", "turnpike", "foundry", "boathouse", "mill", "tramway", "planetarium",
    "telegraph", "windmill",
)  # fmt: skip
"""What a description can be about, never a person."""

OPENINGS = (
    "Inherit the {noun} of {place} and find out why nobody wanted it.",
    "One {noun}, one winter, and everybody in {place} has an opinion about it.",
    "The last {noun} of {place} has stopped. You are the only one who heard it.",
    "Build, mend and defend the {noun} at the edge of {place}.",
    "Race from {place} to the sea before the tide takes the {noun}.",
    "A letter from {place}, one broken {noun}, and three days to put things right.",
    "Lead a crew of misfits who swear that the {noun} of {place} can be moved.",
)

MIDDLES = (
    "Talk to forty townsfolk, each with a daily round of their own.",
    "Every choice is written into a ledger that you can't close.",
    "Turn by turn, the map fills with what you found out yourself.",
    "Plan by day, and pay for the plan by night.",
    "Physics you can trust, puzzles you can't.",
    "Hand-drawn in ink and tea.",
    "No timers, no shops, no waiting.",
)

ENDINGS = (
    "Plays well with a controller, a keyboard, or a friend.",
    "About twelve hours, and one more for the truth.",
    "With an original score for harmonium and rain.",
    "Includes a photo mode and a very patient cat.",
    "Made by four people and a kettle.",
    "Difficulty settings for everyone, and one for nobody.",
)

EDITIONS = (" - Definitive Edition", " - Game of the Year Edition", ": Enhanced Edition", " Deluxe")
DLC_NAMES = ("Storm Season", "The Long Winter", "Night Shift", "A Map of Elsewhere", "Second Helping", "Undertow")
TAGS = ("Cozy", "Done", "With Ana", "Someday", "Deck")
