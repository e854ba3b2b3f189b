"""Film inputs: every message on what is wrong, digests, sizes, regions, the cache."""

import io
import pickle
import threading

import numpy as np
import pytest
from PIL import Image

from voxelmill.engine import film_list, pictures
from voxelmill.engine.anatomy import REGIONS, derive
from voxelmill.engine.errors import SourceError
from voxelmill.engine.films import Films
from voxelmill.engine.sources import FilmInputs, open_films

SHAPE = (120, 96)  # y, x: not square, so that a swap shows


def lungs(shape=SHAPE):
    y, x = np.indices(shape)
    y, x = (y + 0.5) / shape[0], (x + 0.5) / shape[1]
    right = ((y - 0.5) / 0.3) ** 2 + ((x - 0.3) / 0.13) ** 2 < 1
    left = ((y - 0.5) / 0.3) ** 2 + ((x - 0.7) / 0.11) ** 2 < 1
    return right | left


def picture(seed, shape=SHAPE):
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, shape, np.uint8)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Three good films: b, a, c."""
    for seed, name in enumerate("bac"):
        save(tmp_path / "films" / "images" / f"{name}.png", picture(seed))
        save(tmp_path / "films" / "masks" / f"{name}.png", lungs() * np.uint8(255))
    return tmp_path


def films_of(folder, films="films", skip_bad=False, **keys):
    return open_films(FilmInputs(films, **keys), folder, skip_bad)


def message(folder, films="films", skip_bad=False, **keys):
    with pytest.raises(SourceError) as caught:
        films_of(folder, films, skip_bad, **keys)
    return str(caught.value)


def stack(folder, name, names=("heart", "aorta"), pixels=SHAPE, **arrays):
    masks = np.zeros((len(names), *pixels), bool)
    for i in range(len(names)):
        masks[i, 40 + 10 * i : 60, 30:50] = True
    path = folder / "regions" / f"{name}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **{"names": np.array(names), "masks": masks, **arrays})
    return masks


def test_a_folder_of_films(folder):
    films = films_of(folder)
    assert films.ids == films.subjects == ("a", "b", "c")  # sorted
    assert len(films) == 3
    assert np.isnan(films.devices).all()  # a folder cannot say
    assert films.skipped == films.donors == []
    assert len(films.notes) == 1
    np.testing.assert_array_equal(films.film(1, 96).image, picture(0)[12:108])
    assert films.table()["id"] == ["a", "b", "c"]


def test_all_that_is_wrong_is_told_at_once(folder):
    images, masks = folder / "films" / "images", folder / "films" / "masks"
    data = (images / "a.png").read_bytes()
    (images / "cut.png").write_bytes(data[: len(data) // 2])
    (images / "empty.png").write_bytes(b"")
    (images / "text.png").write_text("no picture")
    (images / "flipped.png").write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    Image.fromarray(picture(5)).save(images / "cut_jpeg.jpg")
    jpeg = (images / "cut_jpeg.jpg").read_bytes()
    (images / "cut_jpeg.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    for name in ("shape", "dark", "values", "colour", "one", "no_mask", "bad_mask"):
        save(images / f"{name}.png", picture(9))
    for name in ("cut", "empty", "text", "flipped", "cut_jpeg"):
        save(masks / f"{name}.png", lungs() * np.uint8(255))
    save(masks / "shape.png", lungs(SHAPE[::-1]) * np.uint8(255))
    save(masks / "dark.png", lungs() * np.uint8(127))  # a device is no lung
    save(masks / "values.png", lungs() * np.uint8(1))
    save(masks / "colour.png", np.repeat(lungs()[..., None] * np.uint8(255), 3, 2))
    one = lungs() & (np.arange(SHAPE[1]) > 48)
    save(masks / "one.png", one * np.uint8(255))
    (masks / "bad_mask.png").write_text("no mask")
    text = message(folder)
    assert text.startswith("12 inputs cannot be used; mend them, or leave them out with --skip-bad")
    for expected in (
        "film no_mask: no mask; looked for",
        "cut.png: truncated or damaged",
        "empty.png: an empty file",
        "text.png: unreadable: not a PNG or JPEG",
        "flipped.png: truncated or damaged",
        "cut_jpeg.jpg: truncated or damaged",
        "shape.png: a mask of (96, 120) (y, x) for a film of (120, 96); they must be the same",
        "dark.png: a mask with no foreground; lung is 255",
        "values.png: values 1 of a lung mask have no meaning; they are 0 background, 127 large "
        "device, 255 lung",
        "colour.png: a mask has one 8-bit channel, not mode RGB",
        "film one: ",
        "bad_mask.png: unreadable",
    ):
        assert expected in text
    assert len(text.splitlines()) == 13
    films = films_of(folder, skip_bad=True)
    assert films.ids == ("a", "b", "c")
    assert len(films.skipped) == 12
    assert any("no_mask" in line for line in films.skipped)
    assert films.notes[0] == "12 bad inputs left out (--skip-bad)"
    assert films.notes[1].startswith("3 films do not say whether they show devices")
    assert films.digest == films_of_good(folder).digest


def films_of_good(folder):
    """The same three films elsewhere."""
    other = folder / "elsewhere"
    for name in "abc":
        for kind in ("images", "masks"):
            path = other / "good" / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((folder / "films" / kind / f"{name}.png").read_bytes())
    return films_of(other, "good")


def test_no_inputs(folder, tmp_path):
    assert "is neither a folder nor a CSV" in message(folder, "none")
    (tmp_path / "bare").mkdir()
    assert "no films in" in message(folder, "bare")
    (tmp_path / "bare" / "images").mkdir()
    assert "it needs images/*.png or *.jpg, and masks/" in message(folder, "bare")
    (tmp_path / "empty.csv").write_text("id,image\n")
    assert "it needs a row for each film" in message(folder, "empty.csv")
    (tmp_path / "nothing.csv").write_text("")
    assert "has no column id and image" in message(folder, "nothing.csv")
    for key in ("masks", "regions", "donors"):
        assert message(folder, **{key: "none"}).endswith("none is not a folder")
    for name in "abc":
        (folder / "films" / "masks" / f"{name}.png").unlink()
    assert "no film left to use" in message(folder, skip_bad=True)


def test_a_csv(folder):
    path = folder / "list.csv"
    path.write_text(
        "id,image,mask,subject,view,devices,ward\n"
        "z,films/images/a.png,films/masks/a.png,anna,PA,0,3\n"
        "y,films/images/b.png,films/masks/b.png,bert,AP,1,3\n"
        "x,films/images/c.png,films/masks/c.png,anna,,,3\n"
    )
    films = films_of(folder, "list.csv")
    assert films.ids == ("x", "z")
    assert films.subjects == ("anna", "anna")
    assert films.notes[0] == "1 film with known devices left out (allow_devices: false)"
    assert films.notes[1].startswith("1 films do not say whether they show devices")
    films = films_of(folder, "list.csv", allow_devices=True)
    assert films.ids == ("x", "y", "z")
    np.testing.assert_array_equal(films.devices, [np.nan, 1, 0])
    assert films.table()["view"] == ["", "AP", "PA"]
    path.write_text("id,image,mask,devices\ny,films/images/b.png,films/masks/b.png,yes\n")
    text = message(folder, "list.csv")
    assert "no film left to use" in text
    assert "1 film with known devices left out" in text


def test_a_csv_with_masks_apart(folder):
    (folder / "list.csv").write_text("id,image\nq,films/images/a.png\n")
    assert films_of(folder, "list.csv", masks="films/masks").ids == ("q",)
    assert "list.csv:2: film q: no mask; name it in the column mask" in message(folder, "list.csv")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,image,subjct\n", "column 'subjct'; did you mean 'subject'?"),
        ("id,id,image\n", "has the column 'id' twice"),
        ("name,image\n", "has no column id; it has"),
        ("id,image,mask\na,b\n", "list.csv:2: more or fewer fields than the header"),
        ("id,image,mask\na,b,c,d\n", "list.csv:2: more or fewer fields than the header"),
        ("id,image,mask\n,b,c\n", "list.csv:2: a film needs an id and an image"),
        ("id,image,mask,devices\na,b,c,some\n", "devices is 'some'; it is 0 or 1"),
        ("id,image,mask\na,b.png,films/masks/a.png\n", "b.png: cannot be read: No such file"),
        ("id,image,mask\na,films/images,films/masks/a.png\n", "Is a directory"),
        (
            "id,image,mask\n" + "a,films/images/a.png,films/masks/a.png\n" * 2,
            "film a: 2 films have this id",
        ),
    ],
)
def test_bad_csv(folder, text, expected):
    (folder / "list.csv").write_text(text)
    assert expected in message(folder, "list.csv")


def test_a_csv_that_is_no_text(folder):
    (folder / "list.csv").write_bytes(b"id,image\n\xff\xfe,b\n")
    assert "is not a readable CSV" in message(folder, "list.csv")


def test_one_stem_in_two_formats_is_a_double_id(folder):
    save(folder / "films" / "images" / "a.jpg", picture(1))
    assert "film a: 2 films have this id" in message(folder)
    assert films_of(folder, skip_bad=True).ids == ("b", "c")


def test_the_digest_is_of_contents_and_not_of_paths(folder):
    base = films_of(folder).digest
    assert base == films_of_good(folder).digest == films_of(folder).digest
    digests = {base}
    rows = ["id,image,mask,subject"] + [f"{n},films/images/{n}.png,films/masks/{n}.png,{n}"
                                        for n in "abc"]  # fmt: skip
    (folder / "list.csv").write_text("\n".join(rows))
    assert films_of(folder, "list.csv").digest == base
    (folder / "list.csv").write_text("\n".join(rows).replace("c.png,c", "c.png,d"))
    digests.add(films_of(folder, "list.csv").digest)
    for name in "abc":
        stack(folder, name)
    digests.add(films_of(folder, regions="regions").digest)
    stack(folder, "b", names=("heart", "trachea"))
    digests.add(films_of(folder, regions="regions").digest)
    cutout = np.full((7, 9, 4), 200, np.uint8)
    save(folder / "donors" / "coin.png", cutout)
    digests.add(films_of(folder, donors="donors").digest)
    save(folder / "films" / "images" / "a.png", picture(77))
    digests.add(films_of(folder).digest)
    assert len(digests) == 6


def test_sizes_and_depths():
    def encoded(array):
        out = io.BytesIO()
        Image.fromarray(array).save(out, "PNG")
        return out.getvalue()

    deep = np.array([[0, 2048, 4095]], np.uint16)
    assert pictures.decode_grey(encoded(deep), "x").tolist() == [[0, 128, 255]]  # 12 bits
    deep = np.array([[0, 257, 65535]], np.uint16)
    assert pictures.decode_grey(encoded(deep), "x").tolist() == [[0, 1, 255]]
    deep = np.array([[0, 100, 255]], np.uint16)
    assert pictures.decode_grey(encoded(deep), "x").tolist() == [[0, 100, 255]]
    colour = np.array([[[10, 10, 10], [255, 0, 0]]], np.uint8)
    assert pictures.decode_grey(encoded(colour), "x").tolist() == [[10, 76]]
    film = picture(3, (90, 60))
    np.testing.assert_array_equal(pictures.resize_grey(film, 60), film[15:75])
    ramp = np.tile(np.arange(240, dtype=np.uint8), (240, 1))
    small = pictures.resize_grey(ramp, 24)
    assert small.shape == (24, 24)
    np.testing.assert_allclose(small[12, 2:-2], np.arange(4.5, 240, 10)[2:-2], atol=1)
    checkers = (np.indices((120, 120)).sum(0) % 2 * 255).astype(np.uint8)
    inner = pictures.resize_grey(checkers, 40)[3:-3, 3:-3]
    assert abs(inner.astype(int) - 127).max() < 40  # antialiased: 86-170, not 0 and 255


def test_masks_are_resized_by_area():
    mask = np.zeros((9, 9), bool)
    mask[:5] = True  # with parts of 3 rows: 3 of 3, 2 of 3, none
    np.testing.assert_array_equal(pictures.resize_mask(mask, 3).any(1), [True, True, False])
    mask[4] = False
    np.testing.assert_array_equal(pictures.resize_mask(mask, 3).any(1), [True, False, False])
    dot = np.zeros((90, 90), bool)
    dot[50, 20] = True
    np.testing.assert_array_equal(np.argwhere(pictures.resize_mask(dot, 7)), [[3, 1]])
    tall = np.zeros((20, 10), bool)
    tall[:5] = True
    assert not pictures.resize_mask(tall, 7).any()  # above the centre square
    full = np.ones((10, 10), bool)
    assert all(pictures.resize_mask(full, size).all() for size in (3, 7, 10, 23))
    y, x = np.indices((100, 100))
    disc = (y - 50) ** 2 + (x - 50) ** 2 < 900
    for size in (37, 250):
        share = pictures.resize_mask(disc, size).mean()
        assert share == pytest.approx(disc.mean(), rel=0.02)


def test_regions_are_derived_from_the_lungs(folder):
    film = films_of(folder).film(0, 96)
    expected = derive(lungs()[12:108])
    assert tuple(film.regions) == REGIONS
    assert film.derived == set(REGIONS)
    for name in REGIONS:
        np.testing.assert_array_equal(film.regions[name], expected[name])
    with pytest.raises(SourceError, match="film a: unknown region 'hart'; did you mean 'heart'"):
        film.regions["hart"]
    with pytest.raises(SourceError, match="unknown region 'hart'"):
        film.pick("hart", 0.5)
    assert "hart" not in film.regions


def test_pick_takes_each_pixel_of_a_region_in_turn(folder):
    film = films_of(folder).film(0, 61)
    inside = np.argwhere(film.regions["aorta"])
    n = len(inside)
    picked = [film.pick("aorta", (k + 0.5) / n) for k in range(n)]
    np.testing.assert_array_equal(picked, inside)
    assert film.pick("aorta", 0.0) == tuple(inside[0])
    assert film.pick("aorta", 1 - 2**-32) == tuple(inside[-1])


@pytest.mark.parametrize("form", ["npz", "packed", "pictures"])
def test_given_regions_take_the_place_of_derived_ones(folder, form):
    for name in "abc":
        masks = stack(folder, name, ("heart", "aorta"))
        if form == "packed":
            stack(folder, name, masks=np.packbits(masks, axis=-1), shape=np.array(SHAPE))
        if form == "pictures":
            (folder / "regions" / f"{name}.npz").unlink()
            for region, mask in zip(("heart", "aorta"), masks, strict=True):
                save(folder / "regions" / name / f"{region}.png", mask * np.uint8(255))
    film = films_of(folder, regions="regions").film(2, 96)
    np.testing.assert_array_equal(film.regions["heart"], masks[0, 12:108])
    np.testing.assert_array_equal(film.regions["aorta"], masks[1, 12:108])
    np.testing.assert_array_equal(film.regions["trachea"], derive(lungs()[12:108])["trachea"])
    assert film.derived == set(REGIONS) - {"heart", "aorta"}


def test_names_of_cxas_are_understood(folder):
    for name in "abc":
        stack(folder, name, ("heart", "clavicle left"))
    films = films_of(folder, regions="regions")
    assert "clavicle left" in films.film(0, 96).regions
    assert films.film(0, 96).regions["clavicle left"].any()
    films.require(["heart", "trachea", "clavicle left"])


def test_an_empty_given_region_is_derived_and_said_to_be(folder):
    for name in "abc":
        stack(folder, name, ("heart", "aorta"), masks=np.zeros((2, *SHAPE), bool))
    film = films_of(folder, regions="regions").film(0, 96)
    assert film.regions["heart"].any()
    assert film.derived == set(REGIONS)


def test_require_tells_all_that_lacks_before_work_starts(folder):
    stack(folder, "a", ("heart", "clavicle left"))
    stack(folder, "b", ("heart", "clavicle left"), masks=np.zeros((2, *SHAPE), bool))
    stack(folder, "c", ("heart",))
    films = films_of(folder, regions="regions")
    films.require(["heart", "trachea"])
    with pytest.raises(SourceError) as caught:
        films.require(["clavicle left", "hart"])
    lines = str(caught.value).splitlines()
    assert lines[1].strip().startswith("film b: no region 'clavicle left' in")
    assert lines[2].strip().startswith("film c: no region 'clavicle left' in")
    assert lines[3].strip() == "unknown region 'hart'; did you mean 'heart'?"
    with pytest.raises(SourceError, match="film b: region 'clavicle left' is empty in"):
        films.film(1, 96).pick("clavicle left", 0.5)


def test_bad_region_stacks(folder):
    for name in "abc":
        stack(folder, name)
    path = folder / "regions" / "b.npz"

    def text():
        return message(folder, regions="regions")

    path.unlink()
    assert "film b: no regions; looked for" in text()
    path.write_bytes(b"PK nothing")
    assert "b.npz: not a readable NPZ" in text()
    path.write_bytes(b"")
    assert "b.npz: an empty file" in text()
    stack(folder, "b", ("heart", "aortha"))
    assert "unknown region 'aortha'; did you mean 'aorta'?" in text()
    stack(folder, "b", ("heart", "heart"))
    assert "regions given twice: heart" in text()
    stack(folder, "b", pixels=SHAPE[::-1])
    assert "region 'heart' is (96, 120) (y, x), its film (120, 96)" in text()
    stack(folder, "b", names=("heart",), masks=np.zeros((2, *SHAPE), bool))
    assert "masks are bool (2, 120, 96); 1 names need bool or uint8 (1, y, x)" in text()
    stack(folder, "b", masks=np.zeros((2, *SHAPE), np.float32))
    assert "masks are float32" in text()
    np.savez(path, names=np.array(["heart"]), masks=np.zeros((1, *SHAPE), bool), shape=SHAPE)
    assert "packed masks (1, 120, 96) do not hold shape (120, 96)" in text()
    np.savez(path, masks=np.zeros((1, *SHAPE), bool))
    assert "no array names in this NPZ" in text()
    np.savez(path, names=np.array([{"a": 1}], object), masks=np.zeros((1, *SHAPE), bool))
    assert "b.npz: not a readable NPZ" in text()
    path.unlink()
    (folder / "regions" / "b").mkdir()
    assert "b: no regions in it" in text()
    save(folder / "regions" / "b" / "heart.png", lungs((9, 8)) * np.uint8(255))
    assert "region 'heart' is (9, 8) (y, x), its film (120, 96)" in text()
    assert films_of(folder, regions="regions", skip_bad=True).ids == ("a", "c")


def test_donors(folder):
    cutout = np.zeros((7, 9, 4), np.uint8)
    cutout[2:5, 3:8] = (50, 50, 50, 255)
    cutout[2, 3, 3] = 51
    save(folder / "donors" / "coin.png", cutout)
    ((grey, alpha),) = films_of(folder, donors="donors").donors
    assert grey.shape == alpha.shape == (7, 9)
    assert grey.dtype == alpha.dtype == np.float32
    assert grey[3, 4] == pytest.approx(50)
    assert (alpha[2, 3], alpha[3, 4], alpha[0, 0]) == pytest.approx((0.2, 1.0, 0.0))
    save(folder / "donors" / "opaque.png", cutout[..., :3])
    save(folder / "donors" / "clear.png", cutout * np.array([1, 1, 1, 0], np.uint8))
    (folder / "donors" / "broken.png").write_text("x")
    text = message(folder, donors="donors")
    assert "opaque.png: a donor needs an alpha channel; this is mode RGB" in text
    assert "clear.png: a donor that is transparent everywhere" in text
    assert "broken.png: unreadable" in text
    assert len(films_of(folder, donors="donors", skip_bad=True).donors) == 1
    (folder / "donors" / "coin.png").unlink()
    assert "no usable donor" in message(folder, donors="donors", skip_bad=True)
    for path in (folder / "donors").iterdir():
        path.unlink()
    assert "no PNG in" in message(folder, donors="donors")


def test_the_cache_is_bounded_and_keeps_the_latest(folder):
    films = films_of(folder)
    one = films.film(0, 64).nbytes
    small = Films(films.sources, (), films.digest, cache_bytes=2 * one)
    a, b = small.film(0, 64), small.film(1, 64)
    assert small.film(0, 64) is a
    small.film(2, 64)  # pushes out b, the one not used for longest
    assert small.film(0, 64) is a
    assert small.film(1, 64) is not b
    assert small.film(0, 32).image.shape == (32, 32)
    tiny = Films(films.sources, (), films.digest, cache_bytes=1)
    assert tiny.film(0, 64).id == "a"
    film = films.film(0, 64)
    _ = [film.regions[name] for name in REGIONS]
    bits = sum(a.nbytes + b.nbytes for a, b in map(film.regions.packed, REGIONS))
    assert bits + film.image.nbytes <= film.nbytes


def test_many_threads_get_the_same_films(folder):
    films = films_of(folder)
    films = Films(films.sources, (), films.digest, cache_bytes=films.film(0, 64).nbytes)
    found, gate = [], threading.Barrier(6)

    def work(i):
        gate.wait()
        for k in range(8):
            film = films.film((i + k) % 3, 64)
            found.append((film.id, film.image.tobytes(), film.pick("heart", 0.3)))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 48
    assert len(set(found)) == 3


def test_films_pickle_as_their_list(folder):
    films = films_of(folder)
    films.film(0, 64)
    again = pickle.loads(pickle.dumps(films))
    assert again.ids == films.ids
    assert again.digest == films.digest
    np.testing.assert_array_equal(again.film(0, 64).image, films.film(0, 64).image)


def test_the_films_that_ship():
    assert film_list.SHIPPED.is_file()
    films = open_films(FilmInputs())
    assert len(films) >= 10
    assert films.skipped == []
    assert not films.devices.any()
    film = films.film(0, 128)
    for name in REGIONS:
        assert film.regions[name].any()


def test_the_shared_films(shared):
    films = open_films(FilmInputs("cxr"), shared / "data")
    assert len(films) == 62
