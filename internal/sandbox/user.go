package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// User is an identity that a child can run as.
type User struct {
	UID, GID int
	Home     string // empty: not in the system's list of users
}

// ErrNotRoot means that another user was asked for and the gateway may not become one.
var ErrNotRoot = errors.New("only root can start a child as another user")

// ParseUser reads a user name, a number, or number:number for user and group. A number without a group has the group
// that the system's list of users gives it, else the group of the same number. Root is refused: it would be no
// confinement.
func ParseUser(text string) (User, error) {
	id, group, paired := strings.Cut(text, ":")
	uid, err := strconv.ParseUint(id, 10, 31)
	if err != nil && paired {
		return User{}, fmt.Errorf("user %q: a group can be given to a number only, such as 65534:65534", text)
	}
	var u User
	if err != nil {
		u, err = named(user.Lookup(text))
		if err != nil {
			return User{}, fmt.Errorf("user %q is not known to this system", text)
		}
	} else if u, err = named(user.LookupId(id)); err != nil {
		u = User{UID: int(uid), GID: int(uid)}
	}
	if paired {
		gid, err := strconv.ParseUint(group, 10, 31)
		if err != nil {
			return User{}, fmt.Errorf("user %q: the group is not a number", text)
		}
		u.GID = int(gid)
	}
	if u.UID == 0 || u.GID == 0 {
		return User{}, fmt.Errorf("user %q is root, or has root's group", text)
	}
	return u, nil
}

func named(found *user.User, err error) (User, error) {
	if err != nil {
		return User{}, err
	}
	uid, err := strconv.Atoi(found.Uid)
	if err != nil {
		return User{}, fmt.Errorf("user id %q: %w", found.Uid, err)
	}
	gid, err := strconv.Atoi(found.Gid)
	if err != nil {
		return User{}, fmt.Errorf("group id %q: %w", found.Gid, err)
	}
	return User{UID: uid, GID: gid, Home: found.HomeDir}, nil
}

// CheckUser reports whether a child can be started as the user: ErrNotRoot, or what is wrong with the text. Empty is
// always fine.
func CheckUser(text string) error {
	if text == "" {
		return nil
	}
	if _, err := ParseUser(text); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	return nil
}

// atHome returns env with the home directory of u where it had ours.
func atHome(env []string, u User) []string {
	ours, err := os.UserHomeDir()
	if err != nil || u.Home == "" {
		return env
	}
	moved := make([]string, len(env))
	for i, v := range env {
		if moved[i] = v; v == "HOME="+ours {
			moved[i] = "HOME=" + u.Home
		}
	}
	return moved
}
