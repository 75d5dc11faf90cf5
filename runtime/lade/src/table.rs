//! Columns of text: what is between two tabs is as wide as the widest of its column.
//!
//! The rule is that of Go's tabwriter, which docker prints through: a column is a run of lines that have a tab in that place, it is at least ten
//! characters wide with three of them blank, and what follows the last tab of a line is no column.

/// The least width of a column, with its blanks.
const LEAST: usize = 10;
/// Blanks between columns.
const BLANKS: usize = 3;

/// Replaces tabs by blanks.
pub(crate) fn align(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut line = 0;
        while line < lines.len() {
            let run = widths[line..]
                .iter()
                .take_while(|cells| cells.len() > column)
                .count();
            let cells = lines[line..line + run].iter().map(|cells| cells[column]);
            let widest = cells.map(|cell| cell.chars().count() + BLANKS).max();
            let width = widest.unwrap_or(0).max(LEAST);
            for cells in &mut widths[line..line + run] {
                cells[column] = width;
            }
            line += run.max(1);
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (cells, widths) in lines.iter().zip(&widths) {
        for (at, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            let blanks = widths
                .get(at)
                .map_or(0, |width| width - cell.chars().count());
            out.extend(std::iter::repeat_n(' ', blanks));
        }
        out.push('\n');
    }
    out
}

/// Cuts a text to so many characters, with an ellipsis in the place of the rest.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_docker_s() {
        // As docker 20.10 prints its `images`.
        let text = "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\n\
                    busybox\tlatest\t65ad0d468eb1\t2 years ago\t4.26MB\n\
                    localhost:5000/a/b\t1\tfeb5d9fea6a5\t3 years ago\t13.3kB\n";
        let want = "REPOSITORY           TAG       IMAGE ID       CREATED       SIZE\n\
                    busybox              latest    65ad0d468eb1   2 years ago   4.26MB\n\
                    localhost:5000/a/b   1         feb5d9fea6a5   3 years ago   13.3kB\n";
        assert_eq!(align(text), want);
    }

    #[test]
    fn a_column_ends_where_a_line_has_none() {
        assert_eq!(
            align("a long first\tb\nalone\nc\td\n"),
            "a long first   b\nalone\nc         d\n"
        );
        assert_eq!(align(""), "");
        assert_eq!(align("\t\tx\n"), format!("{:20}x\n", ""));
        assert_eq!(align("é\tb\n"), "é         b\n");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
