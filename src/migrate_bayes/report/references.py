"""The works that a report may cite."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SOURCES", "Source"]


class Source(NamedTuple):
    """A work as it is named in a sentence, and in full."""

    short: str
    full: str


SOURCES = {
    "abrilpla2023": Source(
        "Abril-Pla et al. 2023", "Abril-Pla, O., et al. 2023, PeerJ Computer Science, 9, e1516"
    ),
    "anders2017a": Source("Anders et al. 2017a", "Anders, F., et al. 2017a, A&A, 597, A30"),
    "anders2017b": Source("Anders et al. 2017b", "Anders, F., et al. 2017b, A&A, 600, A70"),
    "anders2018": Source("Anders et al. 2018", "Anders, F., et al. 2018, A&A, 619, A125"),
    "astropy2022": Source(
        "Astropy Collaboration 2022", "Astropy Collaboration, et al. 2022, ApJ, 935, 167"
    ),
    "bailerjones2021": Source(
        "Bailer-Jones et al. 2021", "Bailer-Jones, C. A. L., et al. 2021, AJ, 161, 147"
    ),
    "betancourt2016": Source("Betancourt 2016", "Betancourt, M. 2016, arXiv:1604.00695"),
    "blandhawthorn2016": Source(
        "Bland-Hawthorn & Gerhard 2016", "Bland-Hawthorn, J., & Gerhard, O. 2016, ARA&A, 54, 529"
    ),
    "boggs1990": Source(
        "Boggs & Rogers 1990",
        "Boggs, P. T., & Rogers, J. E. 1990, Contemporary Mathematics, 112, 183",
    ),
    "bovy2015": Source("Bovy 2015", "Bovy, J. 2015, ApJS, 216, 29"),
    "bressan2012": Source("Bressan et al. 2012", "Bressan, A., et al. 2012, MNRAS, 427, 127"),
    "cautun2020": Source("Cautun et al. 2020", "Cautun, M., et al. 2020, MNRAS, 494, 4291"),
    "choi2016": Source("Choi et al. 2016", "Choi, J., et al. 2016, ApJ, 823, 102"),
    "cui2012": Source("Cui et al. 2012", "Cui, X.-Q., et al. 2012, RAA, 12, 1197"),
    "delgadomena2017": Source(
        "Delgado Mena et al. 2017", "Delgado Mena, E., et al. 2017, A&A, 606, A94"
    ),
    "dotter2008": Source("Dotter et al. 2008", "Dotter, A., et al. 2008, ApJS, 178, 89"),
    "dotter2016": Source("Dotter 2016", "Dotter, A. 2016, ApJS, 222, 8"),
    "fitzpatrick2019": Source(
        "Fitzpatrick et al. 2019", "Fitzpatrick, E. L., et al. 2019, ApJ, 886, 108"
    ),
    "frankel2018": Source("Frankel et al. 2018", "Frankel, N., et al. 2018, ApJ, 865, 96"),
    "gaia2021": Source("Gaia Collaboration 2021", "Gaia Collaboration, et al. 2021, A&A, 649, A1"),
    "gravity2019": Source(
        "GRAVITY Collaboration 2019", "GRAVITY Collaboration, et al. 2019, A&A, 625, L10"
    ),
    "harris2020": Source("Harris et al. 2020", "Harris, C. R., et al. 2020, Nature, 585, 357"),
    "hidalgo2018": Source("Hidalgo et al. 2018", "Hidalgo, S. L., et al. 2018, ApJ, 856, 125"),
    "hoffman2014": Source(
        "Hoffman & Gelman 2014", "Hoffman, M. D., & Gelman, A. 2014, JMLR, 15, 1593"
    ),
    "hoyer2017": Source(
        "Hoyer & Hamman 2017",
        "Hoyer, S., & Hamman, J. 2017, Journal of Open Research Software, 5, 10",
    ),
    "hunter2007": Source(
        "Hunter 2007", "Hunter, J. D. 2007, Computing in Science & Engineering, 9, 90"
    ),
    "irrgang2013": Source("Irrgang et al. 2013", "Irrgang, A., et al. 2013, A&A, 549, A137"),
    "jorgensen2005": Source(
        "Jørgensen & Lindegren 2005", "Jørgensen, B. R., & Lindegren, L. 2005, A&A, 436, 127"
    ),
    "kroupa2001": Source("Kroupa 2001", "Kroupa, P. 2001, MNRAS, 322, 231"),
    "kumar2019": Source(
        "Kumar et al. 2019", "Kumar, R., et al. 2019, Journal of Open Source Software, 4, 1143"
    ),
    "lam2015": Source(
        "Lam et al. 2015", "Lam, S. K., Pitrou, A., & Seibert, S. 2015, Proc. LLVM '15, 7"
    ),
    "mcmillan2017": Source("McMillan 2017", "McMillan, P. J. 2017, MNRAS, 465, 76"),
    "salaris1993": Source(
        "Salaris et al. 1993", "Salaris, M., Chieffi, A., & Straniero, O. 1993, ApJ, 414, 580"
    ),
    "schonrich2017": Source(
        "Schönrich & Aumer 2017", "Schönrich, R., & Aumer, M. 2017, MNRAS, 472, 3979"
    ),
    "spada2017": Source("Spada et al. 2017", "Spada, F., et al. 2017, ApJ, 838, 161"),
    "tremaine2002": Source("Tremaine et al. 2002", "Tremaine, S., et al. 2002, ApJ, 574, 740"),
    "vehtari2021": Source(
        "Vehtari et al. 2021", "Vehtari, A., et al. 2021, Bayesian Analysis, 16, 667"
    ),
    "vickers2021": Source(
        "Vickers et al. 2021", "Vickers, J. J., Shen, J., & Li, Z.-Y. 2021, ApJ, 922, 189"
    ),
    "virtanen2020": Source(
        "Virtanen et al. 2020", "Virtanen, P., et al. 2020, Nature Methods, 17, 261"
    ),
    "xiang2019": Source("Xiang et al. 2019", "Xiang, M., et al. 2019, ApJS, 245, 34"),
    "zwolak2007": Source(
        "Zwolak et al. 2007",
        "Zwolak, J. W., Boggs, P. T., & Watson, L. T. 2007, ACM Trans. Math. Softw., 33, 27",
    ),
}
